"""The demo's camera: publishes sensor_msgs/Image and CameraInfo at a steady rate, each stamped when it is sent."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator

import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depth_estimation_ros.demo.frames import GivenIntrinsics, SourceFrame
from depth_estimation_ros.demo.recording import Recording, SentImage, planned_recording
from depth_estimation_ros.demo.sources import SourceError, webcam_frames
from depth_estimation_ros.images import rgb_to_message

IMAGE_TOPIC = "/demo_camera/image"
INFO_TOPIC = "/demo_camera/camera_info"
FRAME_ID = "demo_camera_optical_frame"
POLL_S = 0.05
SETTLE_S = 0.5
"""Each side of DDS finds the other by itself: the node may match this camera a moment after this camera matches it."""

ACKNOWLEDGED_S = 5.0
"""On a busy machine that moment can last seconds: only an acknowledgement says that the node hears."""


def camera_info(k: np.ndarray | None, height: int, width: int, header: Header) -> CameraInfo:
    """Return the CameraInfo of an undistorted pinhole, or of an uncalibrated camera (all zeros) where `k` is None."""
    message = CameraInfo(header=header, height=height, width=width)
    if k is not None:
        message.distortion_model = "plumb_bob"
        message.d = [0.0] * 5
        message.k = k.ravel().tolist()
        message.r = np.eye(3).ravel().tolist()
        message.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
    return message


class Pace:
    """A steady beat: each call of `wait` returns one period after the last beat, never in a burst to catch up."""

    def __init__(self, rate_hz: float) -> None:
        self._period_s = 1.0 / rate_hz
        self._next_s = time.monotonic()

    def wait(self) -> None:
        """Sleep until the next beat is due; where it is already past by a period, begin anew from now."""
        now_s = time.monotonic()
        if now_s - self._next_s > self._period_s:
            self._next_s = now_s
        time.sleep(max(0.0, self._next_s - now_s))
        self._next_s += self._period_s


def wait_until_acknowledged(publisher: Publisher) -> None:
    """Wait until every reliable subscription has all that was sent, a few seconds at most; a signal ends it sooner."""
    end_s = time.monotonic() + ACKNOWLEDGED_S
    while rclpy.ok() and time.monotonic() < end_s and not publisher.wait_for_all_acked(Duration(seconds=POLL_S)):
        pass


class Camera(Node):
    """Two publishers, reliable as most drivers' are, and the frames to send."""

    def __init__(self, recording: Recording) -> None:
        super().__init__("demo_camera")
        self._recording = recording
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._images = self.create_publisher(Image, IMAGE_TOPIC, qos)
        self._infos = self.create_publisher(CameraInfo, INFO_TOPIC, qos)

    def heard(self) -> bool:
        """Return whether the node listens to both topics and the listener to the node: nothing sent now is lost."""
        matched = self._images.get_subscription_count() and self._infos.get_subscription_count()
        return bool(matched) and self._recording.marked("listener_ready")

    def introduce(self, frame: SourceFrame) -> None:
        """Publish the calibration alone, as a camera does that ran before the node, and wait until the node has it."""
        self._publish_info(frame, Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID))
        wait_until_acknowledged(self._infos)

    def send(self, index: int, frame: SourceFrame) -> None:
        """Publish one frame, stamped now."""
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=FRAME_ID)
        message = rgb_to_message(frame.image_rgb, header)
        self._recording.write_sent(SentImage(index, now.nanoseconds, FRAME_ID))
        self._publish_info(frame, header)
        self._images.publish(message)

    def flush(self) -> None:
        """Wait until the node has every image, so that ending this process loses none."""
        wait_until_acknowledged(self._images)

    def _publish_info(self, frame: SourceFrame, header: Header) -> None:
        height, width = frame.image_rgb.shape[:2]
        self._infos.publish(camera_info(frame.k, height, width, header))


def live_or_kept_frames(recording: Recording, plan: dict) -> Iterator[SourceFrame]:
    """Yield the frames made beforehand, or what the webcam sees now, which is kept for the pictures."""
    if plan["webcam"] is None:
        yield from (recording.frame(index) for index in range(plan["frame_count"]))
        return
    live = webcam_frames(plan["webcam"], GivenIntrinsics(**plan["given"]))
    for index, frame in enumerate(itertools.islice(live, plan["frame_count"])):
        recording.write_frame(index, frame)
        yield frame


def publish(camera: Camera, recording: Recording, plan: dict) -> None:
    """Wait for the others, send every frame at the planned rate, and note that this is done."""
    while not camera.heard():
        if not rclpy.ok():
            return
        time.sleep(POLL_S)
    time.sleep(SETTLE_S)
    pace = Pace(plan["rate_hz"])
    for index, frame in enumerate(live_or_kept_frames(recording, plan)):
        if index == 0:
            camera.introduce(frame)
        pace.wait()
        if not rclpy.ok():
            return
        camera.send(index, frame)
    camera.flush()
    recording.mark("camera_done")


def main() -> int:
    """Run the camera on the recording folder named on the command line; 0 when all is sent, 130 when stopped."""
    recording, plan = planned_recording(__doc__)
    try:
        rclpy.init()
        camera = Camera(recording)
        publish(camera, recording, plan)
        return 0 if recording.marked("camera_done") else 130
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    except (OSError, SourceError) as error:
        print(f"The camera stops: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
