"""The topics that depth goes out on. Each is built only while somebody subscribes to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from std_msgs.msg import Header

from depth_estimation_ros.camera import camera_info_message
from depth_estimation_ros.camera_pipeline import Estimate
from depth_estimation_ros.depth_colour import depth_to_rgb
from depth_estimation_ros.images import depth_to_message, float_to_message, rgb_to_message
from depth_estimation_ros.laser_scan import Band, depth_to_scan, scan_message
from depth_estimation_ros.parameters import Parameters
from depth_estimation_ros.point_cloud import cloud_message
from depth_estimation_ros.qos import qos_overrides
from depth_estimation_ros.topics import in_namespace


@dataclass(frozen=True)
class Output:
    """One topic, and how its message comes from an estimate; None where this estimate has no such message.

    `why_never` says in one sentence why this model has no such message; None where it has, or a remark says why.
    `yields` says that it is silent while others publish its topic.
    """

    topic: str
    message_type: type
    build: Callable[[Estimate, Header, Parameters], Any | None]
    why_never: Callable[[Estimate], str | None] = lambda estimate: None
    yields: bool = False


def _depth_image(estimate: Estimate, header: Header, parameters: Parameters) -> Image:
    return depth_to_message(estimate.output_depth_m, parameters.depth_encoding, header)


def _camera_info(estimate: Estimate, header: Header, parameters: Parameters) -> CameraInfo:
    return camera_info_message(estimate.output_view, header)


def _points(estimate: Estimate, header: Header, parameters: Parameters) -> PointCloud2 | None:
    if estimate.view.k_network is None:
        return None
    return cloud_message(
        estimate.surfaces_m,
        estimate.view.k_network,
        header,
        stride=parameters.points_stride,
        image_rgb=estimate.image_rgb if parameters.points_color else None,
        max_range_m=parameters.points_max_range or math.inf,
    )


def _depth_colour(estimate: Estimate, header: Header, parameters: Parameters) -> Image:
    return rgb_to_message(depth_to_rgb(estimate.output_depth_m, parameters.min_range, parameters.max_range), header)


def _confidence(estimate: Estimate, header: Header, parameters: Parameters) -> Image | None:
    confidence = estimate.output_confidence
    return None if confidence is None else float_to_message(confidence, header)


def _why_no_confidence(estimate: Estimate) -> str | None:
    if estimate.prediction.log_depth_sigma is not None:
        return None
    return "depth/confidence is subscribed to, but the model gives no confidence: nothing is published on it"


def _rgb(estimate: Estimate, header: Header, parameters: Parameters) -> Image:
    return rgb_to_message(estimate.output_rgb, header)


def _scan(estimate: Estimate, header: Header, parameters: Parameters) -> LaserScan | None:
    if estimate.view.k_network is None or estimate.camera_pose is None:
        return None
    band = Band(parameters.scan_min_height, parameters.scan_max_height, parameters.min_range, parameters.max_range)
    scan = depth_to_scan(estimate.scanned_m, estimate.view.k_network, estimate.camera_pose, band, estimate.suspected_m)
    return scan_message(scan, band, Header(stamp=header.stamp, frame_id=estimate.camera_pose.frame_id))


OUTPUTS = (
    Output("depth/image_rect", Image, _depth_image),
    Output("depth/camera_info", CameraInfo, _camera_info),
    Output("depth/points", PointCloud2, _points),
    Output("depth/color", Image, _depth_colour),
    Output("depth/confidence", Image, _confidence, _why_no_confidence),
    Output("rgb/image_rect", Image, _rgb),
    # image_transport's subscribers look for it beside the image.
    Output("rgb/camera_info", CameraInfo, _camera_info),
    # A robot's laser scanner has this name, too: whoever listens to it must not get two sensors mixed.
    Output("scan", LaserScan, _scan, yields=True),
)


class OutputPublishers:
    """The lifecycle publishers of all outputs: reliable, so that every subscriber can hear them, and one frame deep."""

    def __init__(self, node: LifecycleNode, camera: str = "", inputs: Collection[str] = ()):
        """Advertise them.

        Args:
            node: What the topics belong to.
            camera: Their namespace, "" for none.
            inputs: What the node listens to, names as resolved: an output of the same name is left out.
        """
        self._node = node
        self._camera = camera
        self._publishers: list[tuple[Output, LifecyclePublisher]] = []
        self._left_out: dict[str, str] = {}
        self._resolved = {output: node.resolve_topic_name(in_namespace(camera, output.topic)) for output in OUTPUTS}
        try:
            for output in OUTPUTS:
                if self._resolved[output] in inputs:
                    self._leave_out(output)
                else:
                    self._publishers.append((output, self._advertise(output)))
        except Exception:
            self.destroy()
            raise

    def _leave_out(self, output: Output) -> None:
        topic = in_namespace(self._camera, output.topic)
        sentence = f"silent, for this node listens to {self._resolved[output]}: remap {topic} to have it"
        self._left_out[output.topic] = sentence
        self._node.get_logger().warning(f"{topic} is {sentence}")

    def _advertise(self, output: Output) -> LifecyclePublisher:
        topic = in_namespace(self._camera, output.topic)
        return self._node.create_lifecycle_publisher(
            output.message_type,
            topic,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
            qos_overriding_options=qos_overrides(self._node, topic, "publisher"),
        )

    @property
    def are_watched(self) -> bool:
        """Whether anybody subscribes to any of them."""
        return any(self._is_wanted(output, publisher) for output, publisher in self._publishers)

    def is_watched(self, topic: str) -> bool:
        """Whether anybody subscribes to this one."""
        return any(
            output.topic == topic and self._is_wanted(output, publisher) for output, publisher in self._publishers
        )

    @property
    def facts(self) -> dict[str, str]:
        """For diagnostics: what is silent because it is an input, or because others publish it."""
        return self._left_out | {
            output.topic: f"silent, for others publish {self._resolved[output]}: remap {output.topic} to have both"
            for output, _ in self._publishers
            if output.yields and self._is_shared(output)
        }

    def _is_wanted(self, output: Output, publisher: LifecyclePublisher) -> bool:
        return bool(publisher.get_subscription_count()) and not (output.yields and self._is_shared(output))

    def _is_shared(self, output: Output) -> bool:
        topic = self._resolved[output]
        publishers = self._node.count_publishers(topic)
        if publishers <= 1:  # as nearly always, several times a frame
            return False
        # Another of this node's cameras may be remapped to the topic; names tell no nodes apart, two may share one.
        return publishers > sum(publisher.topic_name == topic for publisher in self._node.publishers)

    def mixed_remarks(self) -> list[str]:
        """One sentence for each topic that is subscribed to and has other publishers, too."""
        wanted = [output for output, publisher in self._publishers if self._is_wanted(output, publisher)]
        return [
            f"others publish {topic}, too, and listeners get both: remap one of the two, or give this node a namespace "
            "of its own"
            for topic in (self._resolved[output] for output in wanted if self._is_shared(output))
        ]

    def remarks(self, estimate: Estimate) -> list[str]:
        """One sentence for each topic that is subscribed to, though this model has nothing for it."""
        reasons = [output.why_never(estimate) for output, one in self._publishers if self._is_wanted(output, one)]
        return [reason for reason in reasons if reason is not None]

    def publish(self, estimate: Estimate, header: Header, parameters: Parameters) -> bool:
        """Publish what somebody subscribes to, all of it or, where a message cannot be built, nothing.

        Returns:
            Whether anything could be published.
        """
        messages = [
            (publisher, output.build(estimate, header, parameters))
            for output, publisher in self._publishers
            if self._is_wanted(output, publisher)
        ]
        given = [(publisher, message) for publisher, message in messages if message is not None]
        for publisher, message in given:
            publisher.publish(message)
        return bool(given)

    def destroy(self) -> None:
        """Take the topics back."""
        for _, publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = []
