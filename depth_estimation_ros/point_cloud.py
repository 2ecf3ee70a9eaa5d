"""Depth and pinhole intrinsics to an organized PointCloud2 in the camera's optical frame (REP 103)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sensor_msgs.msg import PointCloud2

POINT_STEP_BYTES = 16
"""Four float32: x, y, z, and the packed colour or padding."""


def is_measured(depth_m: np.ndarray) -> np.ndarray:
    """Whether each depth is one, as bool of the same shape: NaN, +Inf, -Inf (REP 117) and 0 are none."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(depth_m) & (depth_m > 0)


def depth_to_points(depth_m: np.ndarray, k: np.ndarray, stride: int) -> np.ndarray:
    """Unproject every `stride`-th pixel, counted from the middle of the first stride.

    Args:
        depth_m: (h, w) float32 z-depth in metres, not ranges along the ray.
        k: (3, 3) pinhole intrinsics of the depth image, in pixels; pixel centres are at whole numbers.
        stride: Pixels between points in both directions, 1 to the shorter side.

    Returns:
        (h', w', 3) float32 `points_camera` in metres: x right, y down, z forward, with the rows and columns of
        `depth_m[stride // 2 :: stride, stride // 2 :: stride]`. All three are NaN where the depth is not finite or
        not above zero.

    Raises:
        ValueError: The stride is out of range.
    """
    z = _sample(depth_m, stride).astype(np.float32, copy=False)  # (h', w') metres
    z = np.where(is_measured(z), z, np.float32(np.nan))
    first = stride // 2
    columns = np.arange(first, depth_m.shape[1], stride)
    rows = np.arange(first, depth_m.shape[0], stride)
    points_camera = np.empty((*z.shape, 3), np.float32)
    points_camera[..., 0] = z * ((columns - k[0, 2]) / k[0, 0]).astype(np.float32)
    points_camera[..., 1] = z * ((rows - k[1, 2]) / k[1, 1]).astype(np.float32)[:, np.newaxis]
    points_camera[..., 2] = z
    return points_camera


def cloud_message(
    depth_m: np.ndarray,
    k: np.ndarray,
    header: Any,
    stride: int = 2,
    image_rgb: np.ndarray | None = None,
    max_range_m: float = np.inf,
) -> PointCloud2:
    """Build the organized cloud: fields x y z, and rgb where there is an image, in points of 16 bytes.

    Args:
        depth_m: (h, w) float32 z-depth in metres.
        k: (3, 3) intrinsics of the depth image, in pixels.
        header: std_msgs/Header of the camera image, with its optical frame.
        stride: See `depth_to_points`.
        image_rgb: (h, w, 3) uint8 RGB, the pixels that `depth_m` belongs to. Packed as 0x00RRGGBB into a float32, as
            PCL and rviz read it.
        max_range_m: Points of greater z-depth become NaN.

    Raises:
        ValueError: The stride is out of range, or the image is not of the depth's size.
    """
    from sensor_msgs.msg import PointCloud2, PointField  # here, so that the geometry needs no ROS messages

    points_camera = depth_to_points(depth_m, k, stride)
    height, width = points_camera.shape[:2]
    points_camera[points_camera[..., 2] > max_range_m] = np.nan
    buffer = np.zeros((height, width, POINT_STEP_BYTES // 4), np.float32)
    buffer[..., :3] = points_camera
    names = ["x", "y", "z"]
    if image_rgb is not None:
        if image_rgb.shape != (*depth_m.shape, 3):
            raise ValueError(
                f"the image is {image_rgb.shape} and the depth {depth_m.shape}: give the RGB at the depth's size"
            )
        rgb = _sample(image_rgb, stride).astype(np.uint32)  # (h', w', 3)
        buffer.view(np.uint32)[..., 3] = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        names.append("rgb")

    message = PointCloud2(header=header, is_bigendian=sys.byteorder == "big", is_dense=False)
    message.height, message.width = int(height), int(width)
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(names)
    ]
    message.point_step = POINT_STEP_BYTES
    message.row_step = POINT_STEP_BYTES * int(width)
    # Assigning to `data` walks over every element; filling the array that is there copies it at once.
    message.data.frombytes(buffer.view(np.uint8))
    return message


def _sample(image: np.ndarray, stride: int) -> np.ndarray:
    if not 1 <= stride <= min(image.shape[:2]):
        raise ValueError(
            f"points.stride is {stride}: it must be 1 to {min(image.shape[:2])}, the shorter side of the depth image"
        )
    return image[stride // 2 :: stride, stride // 2 :: stride]
