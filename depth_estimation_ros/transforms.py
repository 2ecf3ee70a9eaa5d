"""Transforms between frames as arrays, from tf2 where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time

from depth_estimation_ros.camera_pose import rotation_from_quaternion

Transform = tuple[np.ndarray, np.ndarray]
"""Rotation (3, 3) and translation (3,) in metres of points from one frame into another."""

NO_TF2_ROS = "Python's tf2_ros is not installed (sudo apt install ros-$ROS_DISTRO-tf2-ros-py)"


class Transforms:
    """Listens to tf from when it is made until `close`."""

    def __init__(self, node: Node, tf2: Any):
        self._tf2 = tf2
        self._buffer = tf2.Buffer()
        self._listener = tf2.TransformListener(self._buffer, node, spin_thread=False)

    def lookup(self, target: str, source: str, time: Time | None = None) -> Transform:
        """Find the way of points in `source` to `target`.

        Args:
            target: Frame to get to.
            source: Frame that the points are in.
            time: None for the latest; so is a time that tf does not know yet, for a moving frame's transform comes a
                moment after the image.

        Raises:
            Exception: tf knows no way; its own have a base class of their own in each distribution.
            ValueError: What it knows is no rotation.
        """
        try:
            message = self._buffer.lookup_transform(target, source, time or Time())
        except self._tf2.ExtrapolationException:
            message = self._buffer.lookup_transform(target, source, Time())
        q, place = message.transform.rotation, message.transform.translation
        return rotation_from_quaternion(q.x, q.y, q.z, q.w), np.array([place.x, place.y, place.z])

    def forget(self) -> None:
        """Time has jumped: tf2 refuses what is older than what it has, and would answer from the future for good."""
        self._buffer.clear()  # which leaves static transforms alone

    def close(self) -> None:
        """Listen no longer."""
        self._listener.unregister()


def listen_to_tf(node: Node) -> Transforms | None:
    """Listen to tf, by the node's own executor; None where tf2_ros is not installed."""
    try:
        import tf2_ros
    except ImportError:
        return None
    return Transforms(node, tf2_ros)
