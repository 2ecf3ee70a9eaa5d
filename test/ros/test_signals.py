"""SIGINT and SIGTERM at any moment: the node ends at once, quietly, with status 0."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import time
from pathlib import Path

import pytest
from robot_harness import Camera
from sensor_msgs.msg import Image

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def ends_well(node) -> bool:
    return node.exit_status() == 0 and "Traceback" not in node.output and "rror" not in node.output


@pytest.mark.parametrize("number", SIGNALS)
def test_while_active(robot, number):
    node = robot.start()
    robot.wait_for_state("active")
    node.kill(number)
    assert ends_well(node), node.output


@pytest.mark.parametrize("number", SIGNALS)
def test_while_a_model_is_loading_that_takes_for_ever(robot, number):
    node = robot.start(load_s=3600)
    robot.wait_for_state("configuring")
    node.kill(number)
    assert ends_well(node), node.output


def test_twice_and_mixed(robot):
    node = robot.start(load_s=3600)
    robot.wait_for_state("configuring")
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        node.kill(number)
    assert ends_well(node), node.output


def test_a_signal_that_another_thread_takes(robot):
    """The kernel may hand a process's signal to any thread, and Python's handlers run in the main thread alone."""
    node = robot.start(load_s=3600)
    robot.wait_for_state("configuring")
    main = node.popen.pid
    others = [int(task.name) for task in Path(f"/proc/{main}/task").iterdir() if int(task.name) != main]
    assert ctypes.CDLL(None).tgkill(main, others[0], int(signal.SIGTERM)) == 0
    assert ends_well(node), node.output


@pytest.mark.parametrize("pause_s", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_twice_while_active(robot, pause_s):
    """The second may come at any moment of the end that the first has begun."""
    node = robot.start()
    robot.wait_for_state("active")
    node.kill(signal.SIGINT)
    time.sleep(pause_s)
    with contextlib.suppress(ProcessLookupError):
        node.kill(signal.SIGINT)
    assert ends_well(node), node.output


def test_during_an_inference_that_never_returns(robot, tmp_path):
    robot.listen(Image, "/depth/image_rect")
    node = robot.start(gate=str(tmp_path / "never"))
    camera = Camera(robot)
    camera.send_until(lambda: robot.count("in flight") == 2, "a frame is in work and one waits")
    node.kill(signal.SIGINT)
    assert ends_well(node), node.output


def test_during_a_flood(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    node = robot.start()
    camera = Camera(robot)
    camera.connect(depths)

    def floods_until_it_ends() -> bool:
        camera.send()
        return node.popen.poll() is not None

    node.kill(signal.SIGTERM)
    robot.wait_until(floods_until_it_ends, "the node ends")
    assert ends_well(node), node.output


def catches(process, number: int) -> bool:
    """Whether the process has a handler for a signal; Python by itself has none for SIGTERM."""
    try:
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
    except OSError:
        return False
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught >> (number - 1) & 1)


def has_loaded(process, library: str) -> bool:
    try:
        return library in Path(f"/proc/{process.popen.pid}/maps").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc to see how far the process is")
@pytest.mark.parametrize(
    ("library", "number"),
    [
        ("", signal.SIGINT),
        ("rclpy_pybind11", signal.SIGINT),
        ("cv2", signal.SIGTERM),
        ("rmw_fastrtps_cpp", signal.SIGINT),
        ("diagnostic_msgs", signal.SIGTERM),
    ],
)
def test_at_any_moment_of_starting(robot, library, number):
    node = robot.start("real", parameters={"autostart": False})
    robot.wait_until(lambda: catches(node, signal.SIGTERM) and has_loaded(node, library), f"{library} is loaded")
    node.kill(number)
    assert ends_well(node), node.output
