"""Each test gets a robot of its own, alone in its ROS domain."""

from __future__ import annotations

import fcntl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2, or the ros extra")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not, and the tests share robot_harness

from robot_harness import Robot


@pytest.fixture
def domain() -> Iterator[int]:
    """A ROS domain that no other test on this machine is in, in whatever process."""
    for number in range(1, 101):
        with open(Path(tempfile.gettempdir()) / f"depth_estimation_ros_domain_{number}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield number
            return
    pytest.fail("all ROS domains are in use")


@pytest.fixture
def robot(tmp_path, domain, monkeypatch) -> Iterator[Robot]:
    """The robot; at its end every node still running is stopped by Ctrl-C, and must have ended well."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    robot = Robot(tmp_path, domain)
    try:
        yield robot
    finally:
        running = [process for process in robot.processes if process.popen.poll() is None]
        robot.shut_down()
    for process in running:
        assert process.popen.returncode == 0, process.output
    for process in robot.processes:
        assert "Traceback" not in process.output, process.output
