"""Where the camera stands, from tf2 where `scan.frame` is set, else from `camera_height` and `camera_pitch`."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from depth_estimation_ros.camera_pose import CameraPose, foot_frame_id, pose_over_floor, rotation_from_quaternion
from depth_estimation_ros.parameters import Parameters

NOT_SAID = "the camera's place over the floor is unknown: set scan.frame (from tf) or camera_height and camera_pitch"


class CameraMounting:
    """Looks the pose up frame by frame; it listens to tf between `start` and `stop`, and only where it needs to."""

    def __init__(self, node: Node, scan_frame: str):
        self._node = node
        self._scan_frame = scan_frame
        self._tf2: Any | None = None
        self._buffer: Any | None = None
        self._listener: Any | None = None

    def start(self) -> None:
        """Listen to tf if there is a frame to look for and tf2_ros is installed."""
        if not self._scan_frame:
            return
        try:
            import tf2_ros
        except ImportError:
            return
        self._tf2 = tf2_ros
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, self._node, spin_thread=False)

    def stop(self) -> None:
        """Listen no longer; harmless where nothing listens."""
        if self._listener is not None:
            self._listener.unregister()
        self._tf2 = self._buffer = self._listener = None

    def forget(self) -> None:
        """Time has jumped: tf2 refuses what is older than what it has, and would answer from the future for good."""
        buffer = self._buffer
        if buffer is not None:
            buffer.clear()  # which leaves static transforms alone

    def find(self, header: Header, parameters: Parameters) -> tuple[CameraPose | None, str | None]:
        """Find the pose of the camera at one image.

        Args:
            header: The image's stamp, and the optical frame.
            parameters: camera_height and camera_pitch, as they hold for this frame.

        Returns:
            The pose and None, or None and the sentence that says what to do.
        """
        if self._scan_frame:
            return self._from_tf(header, parameters.camera_height)
        if not parameters.camera_height:
            return None, NOT_SAID
        foot = foot_frame_id(header.frame_id)
        return pose_over_floor(parameters.camera_height, parameters.camera_pitch, foot), None

    def _from_tf(self, header: Header, camera_height_m: float) -> tuple[CameraPose | None, str | None]:
        frame = self._scan_frame
        if frame == header.frame_id:
            return None, f"scan.frame is {frame!r}, the camera's own frame: name one with z up, such as base_footprint"
        if self._buffer is None:
            return None, (
                f"scan.frame is {frame!r}, and tf2_ros is not installed: install it, or leave scan.frame empty and set "
                "camera_height and camera_pitch"
            )
        try:
            transform = self._transform(header).transform
            q, place = transform.rotation, transform.translation
            rotation = rotation_from_quaternion(q.x, q.y, q.z, q.w)
        except Exception as error:  # tf2's own have a base class of their own in each distribution
            return None, (
                f"tf knows no way from {header.frame_id!r} to scan.frame {frame!r} ({' '.join(str(error).split())}): "
                "publish the camera's transform, or leave scan.frame empty and set camera_height"
            )
        # A frame such as base_link need not lie on the floor: a height that is given outright wins.
        return CameraPose(rotation, place.x, place.y, camera_height_m or place.z, frame), None

    def _transform(self, header: Header) -> Any:
        assert self._tf2 is not None
        assert self._buffer is not None
        try:
            return self._buffer.lookup_transform(self._scan_frame, header.frame_id, Time.from_msg(header.stamp))
        except self._tf2.ExtrapolationException:  # a moving camera's transform comes a moment after its image
            return self._buffer.lookup_transform(self._scan_frame, header.frame_id, Time())
