"""What one camera sends: its images and its calibration."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_estimation_ros.calibration import Calibration
from depth_estimation_ros.doctor.camera_checks import CalibrationFacts, ImageFacts
from depth_estimation_ros.doctor.collector import Collector
from depth_estimation_ros.images import ImageError, decode_compressed, decode_image
from depth_estimation_ros.qos import AdaptiveSubscription

COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPE = "sensor_msgs/msg/Image"
QUEUED = 5


class CameraListener:
    """Hears one camera's images and CameraInfos, as the node does."""

    def __init__(self, node: Node, collector: Collector, image_topic: str, info_topic: str, compressed: bool):
        self._collector = collector
        self.image_topic, self.info_topic = image_topic, info_topic
        self._expected_type = COMPRESSED_TYPE if compressed else IMAGE_TYPE
        self._arrivals_s: list[float] = []
        self._image: Any | None = None
        self._stamp_age_s = 0.0
        self._info: CameraInfo | None = None
        self._subscriptions = [
            AdaptiveSubscription(node, CompressedImage if compressed else Image, image_topic, self._on_image, QUEUED),
            AdaptiveSubscription(node, CameraInfo, info_topic, self._on_info, QUEUED, hears_earlier=True),
        ]

    def close(self) -> None:
        """Stop listening: the camera pays for every listener."""
        for subscription in self._subscriptions:
            subscription.destroy()

    def image_facts(self, is_time_simulated: bool) -> ImageFacts:
        """What was heard of the images."""
        publishers = self._collector.publishers(self.image_topic)
        if self._image is None:
            return ImageFacts(self.image_topic, self._expected_type, publishers)
        decode = decode_compressed if self._expected_type == COMPRESSED_TYPE else decode_image
        size, decode_error = None, None
        try:
            height, width = decode(self._image).shape[:2]
            size = (height, width)
        except (ImageError, ImportError) as error:  # the latter where no library converts images
            decode_error = str(error)
        span_s = self._arrivals_s[-1] - self._arrivals_s[0]
        return ImageFacts(
            topic=self.image_topic,
            expected_type=self._expected_type,
            publishers=publishers,
            rate_hz=(len(self._arrivals_s) - 1) / span_s if span_s else None,
            encoding=self._image.format if self._expected_type == COMPRESSED_TYPE else self._image.encoding,
            size=size,
            message_bytes=len(self._image.data),
            frame_id=self._image.header.frame_id,
            stamp_age_s=None if is_time_simulated else self._stamp_age_s,
            decode_error=decode_error,
        )

    def calibration_facts(self, image: ImageFacts, input_rectified: bool, assumed_hfov_deg: float) -> CalibrationFacts:
        """What was heard of the calibration."""
        return CalibrationFacts(
            topic=self.info_topic,
            publishers=self._collector.publishers(self.info_topic),
            calibration=None if self._info is None else Calibration.from_camera_info(self._info),
            frame_id="" if self._info is None else self._info.header.frame_id,
            image_size=image.size,
            image_frame_id=None if image.encoding is None else image.frame_id,
            input_rectified=input_rectified,
            assumed_hfov_deg=assumed_hfov_deg,
        )

    def _on_image(self, msg: Any) -> None:
        self._arrivals_s.append(time.monotonic())
        self._image = msg
        self._stamp_age_s = time.time() - msg.header.stamp.sec - msg.header.stamp.nanosec / 1e9

    def _on_info(self, msg: CameraInfo) -> None:
        self._info = msg
