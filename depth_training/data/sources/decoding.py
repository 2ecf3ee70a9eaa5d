"""Files' bytes to images and metres, with the reason where they are not what they should be."""

from __future__ import annotations

from pathlib import PurePath

import cv2
import numpy as np

from depth_training.data.pairs import PairsError

UNITS_M = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "tum": 1 / 5000, "kitti": 1 / 256, "8bit": 10 / 255}
"""Metres per step of a stored depth: 16-bit of TUM RGB-D and KITTI, and DenseDepth's 8-bit over 10 m, among them."""


def decode_image_file(data: bytes, name: str) -> np.ndarray:
    """Decode a jpeg or png into (H, W, 3) uint8 RGB.

    Raises:
        PairsError: It is no image, or cut off.
    """
    image_bgr = _decode(data, cv2.IMREAD_COLOR)
    if image_bgr is None or _is_cut_off(data):
        raise PairsError(f"image {name} cannot be decoded ({len(data)} bytes): it must be a whole jpeg or png")
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)


def decode_depth_file(data: bytes, unit: str, name: str) -> np.ndarray:
    """Decode a depth image into (H, W) float32 metres, 0 unknown.

    Args:
        data: A png with 16 bits (8 for the unit ``8bit``) or a tiff with floats.
        unit: A key of ``UNITS_M``.
        name: What messages call it.

    Raises:
        PairsError: It is no image, cut off, has several channels, or 8 bits where more were promised.
    """
    stored = _decode(data, cv2.IMREAD_UNCHANGED)
    if stored is None or _is_cut_off(data):
        raise PairsError(f"depth map {name} cannot be decoded ({len(data)} bytes): it must be a whole png or tiff")
    return to_metres(stored, unit, name)


def to_metres(stored: np.ndarray, unit: str, name: str) -> np.ndarray:
    """Turn stored depth into (H, W) float32 metres; what is not finite or not above zero becomes 0, unknown.

    Raises:
        PairsError: Several channels, 8 bits where more were promised, or more where 8 were.
    """
    if stored.ndim != 2:
        raise PairsError(
            f"depth map {name} has shape {stored.shape}: it must be one channel; a coloured picture of depth has lost "
            "its metres"
        )
    if (stored.dtype == np.uint8) != (unit == "8bit"):
        promised = "8 bits (10 m / 255 a step)" if unit == "8bit" else f"16 bits or floats in {unit}"
        raise PairsError(
            f"depth map {name} is {stored.dtype} where {promised} were promised: an 8-bit picture of depth has mostly "
            "lost its metres; give another --unit only if you know the scale"
        )
    depth_m = stored.astype(np.float32) * np.float32(UNITS_M[unit])
    depth_m[~(np.isfinite(depth_m) & (depth_m > 0))] = 0
    return depth_m


def encoded_image(data: bytes, name: str) -> tuple[str, bytes] | None:
    """The file as it is, (suffix, bytes), where its pixels can be copied unread; None for other formats."""
    suffix = PurePath(name).suffix.lower()
    return (suffix, data) if suffix in (".jpg", ".jpeg", ".png") else None


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION) if data else None


def _is_cut_off(data: bytes) -> bool:
    """Say whether a jpeg or png lacks its end: decoders fill the rest with grey and say nothing."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    return data.startswith(b"\x89PNG") and b"IEND" not in data[-64:]
