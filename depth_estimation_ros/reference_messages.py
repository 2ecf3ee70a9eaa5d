"""What trusted sensors send, as arrays: depth images of other cameras, and laser scans as points."""

from __future__ import annotations

from typing import Any

import numpy as np

DTYPES: dict[str, tuple[np.dtype, float]] = {"32FC1": (np.dtype("f4"), 1.0), "16UC1": (np.dtype("u2"), 0.001)}
"""Numpy type and metres per unit of each encoding of REP 118."""


def depth_from_message(msg: Any) -> np.ndarray:
    """Read a depth sensor_msgs/Image, rows padded or not, of either byte order.

    Returns:
        (H, W) float32 metres; NaN where a 16UC1 image has 0.

    Raises:
        ValueError: Another encoding, or the sizes contradict each other.
    """
    if msg.encoding not in DTYPES:
        raise ValueError(f"the reference is {msg.encoding!r}: give a depth image of 32FC1 (metres) or 16UC1 (mm)")
    dtype, unit_m = DTYPES[msg.encoding]
    row_bytes = int(msg.width) * dtype.itemsize
    data = np.frombuffer(msg.data, np.uint8)
    if not row_bytes or msg.step < row_bytes or data.size < msg.height * msg.step:
        raise ValueError(
            f"the reference says {msg.width}x{msg.height} with step {msg.step} and has {data.size} bytes: check "
            "its driver"
        )
    rows = data[: msg.height * msg.step].reshape(msg.height, msg.step)[:, :row_bytes]
    values = np.ascontiguousarray(rows).view(dtype.newbyteorder(">" if msg.is_bigendian else "<"))
    depth_m = values.astype(np.float32) * np.float32(unit_m)
    if msg.encoding == "16UC1":
        depth_m[values == 0] = np.nan
    return depth_m


def scan_to_points(msg: Any) -> np.ndarray:
    """Turn the valid beams of a sensor_msgs/LaserScan into points.

    Returns:
        (n, 3) float64 metres in the scanner's frame, z = 0.
    """
    ranges_m = np.array(msg.ranges, np.float64)
    angles_rad = msg.angle_min + msg.angle_increment * np.arange(ranges_m.size)
    valid = np.isfinite(ranges_m) & (ranges_m >= msg.range_min) & (ranges_m <= msg.range_max)
    x_m, y_m = ranges_m * np.cos(angles_rad), ranges_m * np.sin(angles_rad)
    return np.stack([x_m, y_m, np.zeros_like(x_m)], axis=-1)[valid]
