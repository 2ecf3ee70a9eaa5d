"""Where a camera stands over the floor, and how it is turned: the optical frame seen from a z-up frame (REP 103)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Axes of x forward, y left, z up from those of x right, y down, z forward."""

_SUFFIXES = ("_optical_frame", "_optical", "_frame")


@dataclass(frozen=True, eq=False)
class CameraPose:
    """The camera in a z-up frame.

    Attributes:
        rotation: (3, 3) float64 from the optical frame to the z-up frame.
        x_m, y_m: The camera's place in that frame, metres.
        height_m: Metres above the floor.
        frame_id: Name of the z-up frame.
    """

    rotation: np.ndarray
    x_m: float
    y_m: float
    height_m: float
    frame_id: str

    @property
    def up_camera(self) -> np.ndarray:
        """(3,) unit vector away from the floor, in the optical frame."""
        return self.rotation[2]


def pose_over_floor(height_m: float, pitch_deg: float, frame_id: str, roll_deg: float = 0.0) -> CameraPose:
    """Give the pose of a camera over the origin of its own z-up frame, whose x points where the camera looks.

    Args:
        height_m: Metres above the floor.
        pitch_deg: Degrees, positive looks down.
        frame_id: Name of that frame.
        roll_deg: Degrees about the viewing direction, positive lowers the picture's right side.
    """
    return CameraPose(rotation_from_rpy(roll_deg, pitch_deg, 0.0) @ BODY_FROM_OPTICAL, 0.0, 0.0, height_m, frame_id)


def rotation_from_rpy(roll_deg: float, pitch_deg: float, yaw_deg: float) -> np.ndarray:
    """(3, 3) turn about the fixed axes x, then y, then z, as URDF and static_transform_publisher have it."""
    (cr, cp, cy), (sr, sp, sy) = (np.array(f(np.radians([roll_deg, pitch_deg, yaw_deg]))) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def rotation_from_quaternion(x: float, y: float, z: float, w: float) -> np.ndarray:
    """(3, 3) of a quaternion of any length but zero.

    Raises:
        ValueError: All four are zero, or one is not finite.
    """
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not (norm > 0 and math.isfinite(norm)):
        raise ValueError(f"the rotation ({x:g}, {y:g}, {z:g}, {w:g}) is no quaternion: correct whoever publishes it")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def foot_frame_id(optical_frame_id: str) -> str:
    """Name the z-up frame on the floor under a camera: `camera_optical_frame` stands over `camera_scan`."""
    for suffix in _SUFFIXES:
        if optical_frame_id.endswith(suffix) and optical_frame_id != suffix:
            return optical_frame_id.removesuffix(suffix) + "_scan"
    return f"{optical_frame_id or 'camera'}_scan"


def pinhole_rays(size: tuple[int, int], k: np.ndarray) -> np.ndarray:
    """(h, w, 3) float64 directions in the optical frame through the pixels' centres, with z = 1.

    Args:
        size: (h, w) pixels.
        k: (3, 3) intrinsics, pixels; centres are at whole numbers.
    """
    height, width = size
    rays = np.ones((height, width, 3))
    rays[..., 0] = (np.arange(width) - k[0, 2]) / k[0, 0]
    rays[..., 1] = ((np.arange(height) - k[1, 2]) / k[1, 1])[:, np.newaxis]
    return rays
