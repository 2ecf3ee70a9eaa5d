"""A node that is configured, activated, deactivated and cleaned up again and again takes no more than at first."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import NodeNameNonExistentError
from robot_harness import Camera, NodeProcess
from sensor_msgs.msg import PointCloud2

FIRST_CYCLE = 10
TOLERANCE_MB = 8
"""Allocators keep what they were given; a leak of one model (15 MB) or one image per cycle (28 MB in all) is more."""

STEPS = (
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


def threads_and_memory_mb(node: NodeProcess) -> tuple[int, float]:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{node.popen.pid}/status").read_text().splitlines())
    return int(fields["Threads"]), int(fields["VmRSS"].split()[0]) / 1024


def open_files(node: NodeProcess) -> int:
    return len(os.listdir(f"/proc/{node.popen.pid}/fd"))


def entities(robot) -> set[tuple[str, str]]:
    """All that the node has in the ROS graph."""
    ours = ("depth_estimation", "/")
    kinds = {
        "publisher": robot.node.get_publisher_names_and_types_by_node,
        "subscription": robot.node.get_subscriber_names_and_types_by_node,
        "service": robot.node.get_service_names_and_types_by_node,
        "client": robot.node.get_client_names_and_types_by_node,
    }
    return {(kind, name) for kind, names_of in kinds.items() for name, _ in names_of(*ours)}


def settled_entities(robot) -> set[tuple[str, str]]:
    """The same, once discovery has told all of them, which may take a heartbeat of three seconds."""
    found: set[tuple[str, str]] = set()
    since_s = time.monotonic()

    def are_all() -> bool:
        nonlocal found, since_s
        with contextlib.suppress(NodeNameNonExistentError):
            now = entities(robot)
            if now != found:
                found, since_s = now, time.monotonic()
        return bool(found) and time.monotonic() - since_s > 3.5

    robot.wait_until(are_all, "discovery has told all")
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("what", "cameras", "last_cycle"), [("double", "", 40), ("double", "left", 40), ("real", "", 100)]
)
def test_nothing_grows(robot, what, cameras, last_cycle):
    prefix = f"/{cameras}" if cameras else ""
    parameters = {"cameras": f"[{cameras}, right]"} if cameras else {}
    if what == "real":
        parameters["device"] = "cpu"
    clouds = robot.listen(PointCloud2, f"{prefix}/depth/points")
    # What is let go of goes back to the system at once: the allocator's own stock is no leak.
    robot.set_environment(MALLOC_ARENA_MAX="1", MALLOC_TRIM_THRESHOLD_="65536", MALLOC_MMAP_THRESHOLD_="65536")
    node = robot.start(what, parameters={"autostart": False, **parameters})
    camera = Camera(robot, f"{prefix}/image", f"{prefix}/camera_info")
    client = robot.node.create_client(ChangeState, "/depth_estimation/change_state")
    robot.wait_until(client.service_is_ready, "the service")
    robot.wait_for_state("unconfigured")
    before = settled_entities(robot)

    taken = []
    for cycle in range(last_cycle):
        for transition in STEPS:
            future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
            robot.wait_until(future.done, "an answer")
            assert future.result().success
            if transition == Transition.TRANSITION_ACTIVATE and cycle % 3 == 0:
                clouds.clear()
                camera.send_until(lambda: clouds, "a cloud")
        robot.wait_until(lambda: entities(robot) == before, "the graph is as it was")
        taken.append((*threads_and_memory_mb(node), open_files(node)))
    threads, memory_mb, files = (column[FIRST_CYCLE - 1 :] for column in zip(*taken, strict=True))
    assert threads[-1] <= threads[0], threads
    assert files[-1] <= files[0], files
    # The least of the last few: a moment's peak is no growth.
    assert min(memory_mb[-5:]) - min(memory_mb[:5]) < TOLERANCE_MB, memory_mb
