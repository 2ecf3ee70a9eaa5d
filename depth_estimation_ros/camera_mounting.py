"""Where the camera stands, from tf2 where `scan.frame` is set, else from `camera_height` and `camera_pitch`."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from depth_estimation_ros.camera_pose import CameraPose, foot_frame_id, pose_over_floor
from depth_estimation_ros.parameters import Parameters
from depth_estimation_ros.transforms import NO_TF2_ROS, Transforms, listen_to_tf

NOT_SAID = "the camera's place over the floor is unknown: set scan.frame (from tf) or camera_height and camera_pitch"


class CameraMounting:
    """Looks the pose up frame by frame; it listens to tf between `start` and `stop`, and only where it needs to."""

    def __init__(self, node: Node, scan_frame: str):
        self._node = node
        self._scan_frame = scan_frame
        self._transforms: Transforms | None = None

    def start(self) -> None:
        """Listen to tf if there is a frame to look for and tf2_ros is installed."""
        if self._scan_frame:
            self._transforms = listen_to_tf(self._node)

    def stop(self) -> None:
        """Listen no longer; harmless where nothing listens."""
        if self._transforms is not None:
            self._transforms.close()
        self._transforms = None

    def forget(self) -> None:
        """Time has jumped."""
        transforms = self._transforms
        if transforms is not None:
            transforms.forget()

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
        if self._transforms is None:
            return None, (
                f"scan.frame is {frame!r}, and {NO_TF2_ROS}: install it, or leave scan.frame empty and set "
                "camera_height and camera_pitch"
            )
        try:
            rotation, place_m = self._transforms.lookup(frame, header.frame_id, Time.from_msg(header.stamp))
        except Exception as error:  # tf2's own have a base class of their own in each distribution
            return None, (
                f"tf knows no way from {header.frame_id!r} to scan.frame {frame!r} ({' '.join(str(error).split())}): "
                "publish the camera's transform, or leave scan.frame empty and set camera_height"
            )
        # A frame such as base_link need not lie on the floor: a height that is given outright wins.
        x_m, y_m, z_m = map(float, place_m)
        return CameraPose(rotation, x_m, y_m, camera_height_m or z_m, frame), None
