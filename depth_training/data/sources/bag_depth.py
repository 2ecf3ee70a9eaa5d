"""Depth messages of a recording to metres, and its camera to a pinhole."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from depth_estimation_ros.camera import Calibration, View, plan_view
from depth_estimation_ros.rectification import RectificationMaps
from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import PairsError
from depth_training.data.sources.decoding import decode_depth_file, to_metres

# compressed_depth_image_transport writes this before the png: format, and two terms for inverse depth.
COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")
SAMPLES = {"16UC1": ("u2", "mm"), "mono16": ("u2", "mm"), "32FC1": ("f4", "m")}


def decode_depth_message(msg: Any, name: str) -> np.ndarray:
    """Turn a depth Image, or a CompressedImage of either image transport, into (H, W) float32 metres, 0 unknown.

    Raises:
        PairsError: Another encoding, or data that are not as long as they say.
    """
    if hasattr(msg, "format"):
        return _decode_compressed(bytes(msg.data), msg.format, name)
    if msg.encoding not in SAMPLES:
        raise PairsError(f"depth {name} has the encoding {msg.encoding!r}: it must be 16UC1 (mm) or 32FC1 (m)")
    kind, unit = SAMPLES[msg.encoding]
    dtype = np.dtype((">" if msg.is_bigendian else "<") + kind)
    row_bytes = msg.width * dtype.itemsize
    data = np.asarray(msg.data, np.uint8)
    if msg.step < row_bytes or data.size != msg.height * msg.step:
        raise PairsError(
            f"depth {name} has {data.size} bytes for {msg.width}x{msg.height} {msg.encoding} of step {msg.step}: the "
            "message is broken"
        )
    rows = np.ascontiguousarray(data.reshape(msg.height, msg.step)[:, :row_bytes]).view(dtype)
    return to_metres(rows, unit, name)


def _decode_compressed(data: bytes, message_format: str, name: str) -> np.ndarray:
    if "compressedDepth" not in message_format:
        return decode_depth_file(data, "mm", name)
    if "rvl" in message_format.lower():
        raise PairsError(f"depth {name} is {message_format!r}: only png is read; republish it as raw and record again")
    if len(data) <= COMPRESSED_DEPTH_HEADER.size:
        raise PairsError(f"depth {name} is cut off: {len(data)} bytes")
    _, numerator, offset = COMPRESSED_DEPTH_HEADER.unpack_from(data)
    stored_mm = decode_depth_file(data[COMPRESSED_DEPTH_HEADER.size :], "mm", name)
    if not message_format.startswith("32FC1"):
        return stored_mm
    steps = np.rint(stored_mm * 1000)
    with np.errstate(divide="ignore"):
        return to_metres(np.where(steps > 0, numerator / (steps - offset), 0).astype(np.float32), "m", name)


def nearest(depth_m: np.ndarray, maps: RectificationMaps) -> np.ndarray:
    """Sample depth (H, W) into (h, w) without averaging: between two surfaces there is nothing."""
    # The maps are in pixels of what the image is averaged to first.
    s_y, s_x = (side / shrunk for side, shrunk in zip(depth_m.shape, maps.source_size, strict=True))
    map_x, map_y = ((np.float32(s) * (m + 0.5) - 0.5) for s, m in ((s_x, maps.map_x), (s_y, maps.map_y)))
    return cv2.remap(depth_m, map_x, map_y, cv2.INTER_NEAREST)


class Rectifier:
    """Makes a camera's images those of a pinhole, as the node on the robot does.

    Attributes:
        warning: One sentence where there is no geometry, or a reservation; None otherwise.
    """

    def __init__(self, camera_info: Any | None, image_rectified: bool, depth_rectified: bool):
        self._calibration = None if camera_info is None else Calibration.from_camera_info(camera_info)
        self._image_rectified, self._depth_rectified = image_rectified, depth_rectified
        self._view: View | None = None
        self.warning: str | None = None

    def __call__(self, image_rgb: np.ndarray, depth_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, Intrinsics | None]:
        """Rectify an image (H, W, 3) and its depth (H, W), and say the pinhole's intrinsics, None if unknown."""
        size = depth_m.shape
        if self._view is None or self._view.image_size != size:
            self._view = plan_view(self._calibration, size, size, self._image_rectified, 0.0, "area")
            self.warning = self._view.why_no_cloud or "; ".join(self._view.warnings) or None
        view = self._view
        if view.k_network is None:
            return image_rgb, depth_m, None
        if view.maps is not None:
            image_rgb = view.apply(image_rgb)
            if not self._depth_rectified:
                depth_m = nearest(depth_m, view.maps)
            depth_m = np.where(view.maps.valid_mask, depth_m, np.float32(0))
        k = view.k_network
        return image_rgb, depth_m, Intrinsics(float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))
