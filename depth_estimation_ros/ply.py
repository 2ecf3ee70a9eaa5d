"""Point clouds as PLY files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def save_ply(path: Path, points_m: np.ndarray, rgb: np.ndarray) -> int:
    """Write the finite points of a cloud as binary little-endian PLY with colours; return how many there are.

    Args:
        path: The file to write, .ply.
        points_m: (H, W, 3) float32 metres in the optical frame, NaN for no point.
        rgb: (H, W, 3) uint8.
    """
    known = np.isfinite(points_m).all(axis=-1)
    vertices = np.empty(int(known.sum()), np.dtype([("position", "<f4", 3), ("colour", "u1", 3)]))
    vertices["position"], vertices["colour"] = points_m[known], rgb[known]
    properties = [f"property float {axis}" for axis in "xyz"] + [
        f"property uchar {channel}" for channel in ("red", "green", "blue")
    ]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment metres, camera optical frame: x right, y down, z forward",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header",
    ]
    path.write_bytes("\n".join(header).encode() + b"\n" + vertices.tobytes())
    return len(vertices)
