"""Full-size depth images and clouds arrive at a best-effort listener in another process, every one of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rclpy.qos import QoSProfile
from robot_harness import BEST_EFFORT, Camera, Robot, nanoseconds
from sensor_msgs.msg import Image, PointCloud2

from depth_estimation_ros.transport import size_segment

FRAME_COUNT, STOCK_FRAME_COUNT = 100, 20
ROUNDS = 3
"""Best effort promises nothing to a listener that a busy machine holds up; stock, some are lost in every round."""


class FullSizeCamera(Camera):
    """Its focal length is the double's own, so that the network runs at the image's size."""

    size = (480, 640)
    k = (130.0, 130.0, 319.5, 239.5)


class LargeCamera(Camera):
    size = (720, 1280)
    k = (520.0, 520.0, 639.5, 359.5)


# Camera, parameters, and the least size in bytes of each output that is listened to.
CASES = {
    "a point for each pixel": (
        FullSizeCamera,
        {"points.stride": 1, "max_network_pixels": 640 * 480},
        {"/depth/points": (PointCloud2, 640 * 480 * 16), "/depth/image_rect": (Image, 640 * 480 * 4)},
    ),
    "images of the camera's size": (
        LargeCamera,
        {"output_size": "camera"},
        {"/depth/image_rect": (Image, 1280 * 720 * 4), "/rgb/image_rect": (Image, 1280 * 720 * 3)},
    ),
}


class Listener:
    """What came on one topic, by stamp; messages of megabytes are not kept."""

    def __init__(self, robot: Robot, topic: str, message_type: type, size_bytes: int):
        self.topic = topic
        self.size_bytes = size_bytes
        self.stamps: set[int] = set()
        qos = QoSProfile(depth=10, reliability=BEST_EFFORT)
        robot.node.create_subscription(message_type, topic, self._on_message, qos)

    def _on_message(self, msg) -> None:
        # An image that comes before the first CameraInfo is worked on at another size.
        if len(msg.data) == self.size_bytes:
            self.stamps.add(nanoseconds(msg))


def arrivals(robot: Robot, camera: Camera, listeners: Sequence[Listener], frame_count: int) -> dict[str, int]:
    """Send one frame after the other, each when the one before has come or is lost; count what came on each topic."""
    stamps = [listener.stamps for listener in listeners]
    before = robot.count("published")
    sent = set()
    for number in range(1, frame_count + 1):
        stamp = camera.send()
        sent.add(stamp)

        def have_come(stamp: int = stamp) -> bool:
            return all(stamp in heard for heard in stamps)

        def is_done(number: int = number) -> bool:
            return robot.count("published") >= before + number

        robot.wait_until(lambda: have_come() or is_done(), f"frame {number} has gone through the node")
        if not have_come():  # it is on its way, or lost
            camera.is_quiet(stamps)
    robot.wait_until(lambda: camera.is_quiet(stamps), "the last of them has come")
    return {listener.topic: len(listener.stamps & sent) for listener in listeners}


@pytest.mark.parametrize("case", CASES)
def test_all_of_100_arrive_with_the_packages_transport(robot, case):
    camera_type, parameters, outputs = CASES[case]
    sized = size_segment()
    frame_bytes = sum(size_bytes for _, size_bytes in outputs.values())
    if sized.segment_bytes < 2 * frame_bytes:
        pytest.skip(f"needs {8 * frame_bytes / 1e6:.0f} MB free in /dev/shm: {sized.remark or 'there is less'}")
    listeners = [Listener(robot, topic, *what) for topic, what in outputs.items()]
    robot.start(parameters=parameters)
    camera = camera_type(robot)
    camera.connect(*(listener.stamps for listener in listeners))
    rounds = []
    while len(rounds) < ROUNDS and dict.fromkeys(outputs, FRAME_COUNT) not in rounds:
        rounds.append(arrivals(robot, camera, listeners, FRAME_COUNT))
    assert dict.fromkeys(outputs, FRAME_COUNT) in rounds, rounds


@pytest.mark.parametrize("case", CASES)
def test_what_the_stock_transport_loses_is_reported(robot, case, tmp_path, record_property, capsys):
    camera_type, parameters, outputs = CASES[case]
    listeners = [Listener(robot, topic, *what) for topic, what in outputs.items()]
    robot.set_environment(FASTDDS_BUILTIN_TRANSPORTS="DEFAULT")  # a user's choice, which the node leaves alone
    robot.start(parameters=parameters)
    camera = camera_type(robot)
    camera.send_until(lambda: robot.count("published") >= 3, "the node has heard of the listener")
    robot.wait_until(camera.is_settled, "all frames are accounted for")
    counts = arrivals(robot, camera, listeners, STOCK_FRAME_COUNT)
    for topic, count in counts.items():
        lost = STOCK_FRAME_COUNT - count
        record_property(f"stock transport, {case}, {topic}: lost of {STOCK_FRAME_COUNT}", lost)
        with capsys.disabled():
            print(f"\nstock transport, {case}: {lost} of {STOCK_FRAME_COUNT} lost on {topic}")
    assert not list(tmp_path.rglob("fastdds_*.xml")), "the node brings no profile of its own then"
