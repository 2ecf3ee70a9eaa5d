"""Depth in whole millimetres, as 16-bit images hold it (REP 118)."""

from __future__ import annotations

import numpy as np

GREATEST_MM = 65535


def depth_to_millimetres(depth_m: np.ndarray) -> np.ndarray:
    """Round depth to millimetres, with 0 for what is not finite, not above zero, or beyond 65.535 m (never wrapped).

    Args:
        depth_m: (H, W) float32 metres.

    Returns:
        (H, W) uint16.
    """
    depth_mm = np.rint(depth_m * np.float32(1000))
    depth_mm[~((depth_mm >= 1) & (depth_mm <= GREATEST_MM))] = 0
    return depth_mm.astype(np.uint16)
