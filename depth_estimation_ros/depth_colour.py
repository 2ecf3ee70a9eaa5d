"""Depth as a picture for people."""

from __future__ import annotations

import cv2
import numpy as np


def depth_to_rgb(depth_m: np.ndarray, min_range_m: float, max_range_m: float) -> np.ndarray:
    """Colour depth on a metre scale that does not change with the picture: turbo, from near blue to far red.

    Args:
        depth_m: (H, W) float32 metres; -Inf and +Inf take the colours of the scale's ends, NaN is black.
        min_range_m: The metres of turbo's first colour.
        max_range_m: The metres of its last.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    unknown = np.isnan(depth_m)
    share = (np.where(unknown, np.float32(min_range_m), depth_m) - min_range_m) / (max_range_m - min_range_m)
    levels = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    rgb[unknown] = 0
    return rgb
