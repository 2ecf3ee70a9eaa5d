"""Listens to depth and to a trusted sensor, and compares them frame by frame."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import CameraInfo, Image, LaserScan

from depth_estimation_ros.camera_info_buffer import to_nanoseconds
from depth_estimation_ros.camera_pose import BODY_FROM_OPTICAL, pose_over_floor, rotation_from_rpy
from depth_estimation_ros.inference.errors import first_line
from depth_estimation_ros.qos import AdaptiveSubscription
from depth_estimation_ros.reference_messages import depth_from_message, scan_to_points
from depth_estimation_ros.scale_calibration import (
    LEAST_FRAMES,
    FrameRatio,
    ScaleError,
    frame_from_depth,
    frame_from_floor,
    frame_from_points,
)
from depth_estimation_ros.stamp_pairs import StampPairs
from depth_estimation_ros.topics import sibling_camera_info
from depth_estimation_ros.transforms import NO_TF2_ROS, Transform, listen_to_tf

TILT_DEG = 5.0
UNKNOWN_TILT_DEG = 20.0
"""How far the floor may look tilted, with and without --camera-pitch."""

SERVICE_S = 5.0
FOLLOW_S = 1.0


class ScaleCalibrator(Node):
    """Listens to depth and reference until enough frames have been compared."""

    def __init__(self, given: argparse.Namespace):
        super().__init__("calibrate_scale")
        self.frames: list[FrameRatio] = []
        self.last_refusal: str | None = None
        self._given = given
        self._info: CameraInfo | None = None
        self._pairs: StampPairs[Image, Any] = StampPairs(int(given.tolerance * 1e9))
        needs_tf = given.reference == "scan" and given.pose is None
        self._transforms = listen_to_tf(self) if needs_tf else None
        # As resolved: the depth topic may be remapped.
        info_topic = sibling_camera_info(self.resolve_topic_name(given.depth_topic))
        self._subscriptions_of_ours = [
            AdaptiveSubscription(self, CameraInfo, info_topic, self._take_info, hears_earlier=True),
            AdaptiveSubscription(self, Image, given.depth_topic, self._take_depth),
        ]
        if given.topic and given.reference != "floor":
            kind = Image if given.reference == "depth" else LaserScan
            self._subscriptions_of_ours.append(AdaptiveSubscription(self, kind, given.topic, self._take_reference))
        self.create_timer(FOLLOW_S, self._follow)

    def current_scale(self) -> float:
        """Ask the depth node for the scale that is in its depth already.

        Raises:
            ScaleError: It does not answer, or floor_scale moves its scale about.
        """
        if self._given.current_scale is not None:
            return self._given.current_scale
        client: Client = self.create_client(GetParameters, f"{self._given.node}/get_parameters")
        if client.wait_for_service(timeout_sec=SERVICE_S):
            names = ["scale", "floor_scale"]
            # What a camera has for itself goes before what holds for all, and is unset where it has nothing.
            asked = [*([f"{camera}.{name}" for name in names] if (camera := self._given.camera) else []), *names]
            future = client.call_async(GetParameters.Request(names=asked))
            rclpy.spin_until_future_complete(self, future, timeout_sec=SERVICE_S)
            answer = future.result() if future.done() else None
            values: list[Any] = [] if answer is None else [parameter_value_to_python(value) for value in answer.values]
            if len(values) == 4:
                values = [common if own is None else own for own, common in zip(values[:2], values[2:], strict=True)]
            # On Humble `ros2 param set … scale 2` leaves an integer.
            if len(values) == 2 and type(values[0]) in (int, float) and values[0] > 0:
                if values[1]:
                    raise ScaleError(
                        f"{self._given.node} follows the floor: set floor_scale to false while it is calibrated"
                    )
                return float(values[0])
        raise ScaleError(
            f"{self._given.node} does not tell its scale: name the depth node (--node), or give --current-scale"
        )

    def explain_silence(self) -> str:
        """Say why fewer frames than needed could be compared."""
        depths, references = self._pairs.seen
        if not depths:
            return f"no depth came on {self.resolve_topic_name(self._given.depth_topic)}: is the depth node active?"
        if self._given.reference != "floor" and not references:
            return f"nothing came on {self.resolve_topic_name(self._given.topic)}: is the reference running?"
        if self.last_refusal is not None:
            return self.last_refusal
        if self._info is None and self._given.reference != "depth":
            return "no CameraInfo came beside the depth: calibrate the camera first, or set assumed_hfov_deg"
        if not self.frames and self._given.reference != "floor":
            return (
                f"{depths} depth images and {references} references came, and no two stamps are within "
                f"{self._given.tolerance:g} s: synchronise the clocks, or give a greater --tolerance"
            )
        return (
            f"{len(self.frames)} of {LEAST_FRAMES} frames came in {self._given.timeout:g} s: give a greater --timeout"
        )

    def _take_info(self, msg: CameraInfo) -> None:
        self._info = msg

    def _take_depth(self, msg: Image) -> None:
        if self._given.reference == "floor":
            self._pairs.seen[0] += 1
            self._try(partial(self._from_floor, msg))
            return
        self._compare(self._pairs.put_first(to_nanoseconds(msg.header.stamp), msg))

    def _take_reference(self, msg: Any) -> None:
        publishers = self.get_publishers_info_by_topic(self.resolve_topic_name(self._given.topic))
        own = self._given.node.rpartition("/")[2]
        if publishers and all(info.node_name == own for info in publishers):
            raise ScaleError(
                f"{self._given.topic} is {own}'s own, which agrees with itself at any scale: name the trusted sensor's "
                "topic, and start the sensor"
            )
        self._compare(self._pairs.put_second(to_nanoseconds(msg.header.stamp), msg))

    def _compare(self, pairs: list[tuple[Image, Any]]) -> None:
        compare = self._from_depth if self._given.reference == "depth" else self._from_scan
        for estimate, reference in pairs:
            self._try(partial(compare, estimate, reference))

    def _try(self, compare: Callable[[], FrameRatio | None]) -> None:
        try:
            frame = compare()
        except ValueError as refusal:
            self.last_refusal = first_line(refusal)
            return
        if frame is not None:
            self.frames.append(frame)

    def _from_depth(self, estimate: Image, reference: Image) -> FrameRatio:
        return frame_from_depth(depth_from_message(estimate), depth_from_message(reference))

    def _from_floor(self, estimate: Image) -> FrameRatio | None:
        k = self._k_of(estimate)
        if k is None:
            return None
        given = self._given
        tilt_deg = UNKNOWN_TILT_DEG if given.camera_pitch is None else TILT_DEG
        up_camera = pose_over_floor(given.camera_height, given.camera_pitch or 0.0, "").up_camera
        return frame_from_floor(depth_from_message(estimate), k, up_camera, given.camera_height, tilt_deg)

    def _from_scan(self, estimate: Image, scan: LaserScan) -> FrameRatio | None:
        k = self._k_of(estimate)
        if k is None:
            return None
        rotation, place_m = self._scanner_to_optical(estimate, scan)
        return frame_from_points(depth_from_message(estimate), k, scan_to_points(scan) @ rotation.T + place_m)

    def _k_of(self, estimate: Image) -> np.ndarray | None:
        info = self._info
        if info is None or (info.height, info.width) != (estimate.height, estimate.width):
            return None
        if not info.k[0] > 0:
            raise ScaleError(
                "the depth's CameraInfo says uncalibrated (K[0] is 0): calibrate the camera, or set the depth node's "
                "assumed_hfov_deg to its horizontal view"
            )
        return np.reshape(info.k, (3, 3))

    def _scanner_to_optical(self, estimate: Image, scan: LaserScan) -> Transform:
        if self._given.pose is not None:
            return camera_pose_to_transform(self._given.pose)
        if self._transforms is None:
            raise ScaleError(f"{NO_TF2_ROS}: install it, or give the camera's place by --pose")
        camera, scanner = estimate.header.frame_id, scan.header.frame_id
        try:
            return self._transforms.lookup(camera, scanner)
        except Exception as error:
            raise ScaleError(
                f"tf knows no way from {scanner!r} to {camera!r} ({first_line(error)}): publish it, or give --pose"
            ) from error

    def _follow(self) -> None:
        for subscription in self._subscriptions_of_ours:
            subscription.follow()


def camera_pose_to_transform(pose: list[float]) -> Transform:
    """Turn the camera's x y z (m), roll pitch yaw (degrees) in the scanner's frame into the way of points to it."""
    rotation = (rotation_from_rpy(*pose[3:]) @ BODY_FROM_OPTICAL).T
    return rotation, -rotation @ np.array(pose[:3])
