"""Depth pixels that float between two surfaces, because a network smears the step between them into a ramp."""

from __future__ import annotations

import cv2
import numpy as np

REACH_PX = 5
"""A slope is taken over so many pixels to both sides: a network's ramp is wide, its ripples are not."""

SURROUNDINGS_PX = 33
"""Side of the square that a surface has to fill somewhere around a pixel for its slope to count as a surface's."""


def flying_pixels(depth_m: np.ndarray, threshold: float) -> np.ndarray:
    """Find the pixels on ramps between surfaces, by how much steeper they are than any surface around them.

    Inverse depth is linear in the pixel position on every plane, at whatever angle it is seen. The length of its
    gradient is therefore constant on a plane and takes a step at the crease between two, while along a smeared edge
    it forms a ridge. A morphological opening keeps plateaus and steps and flattens ridges, so what the opening takes
    away is found on ramps alone: a floor seen at a grazing angle stays, if it fills
    the square `SURROUNDINGS_PX` somewhere around the pixel.

    Args:
        depth_m: (h, w) float32 z-depth in metres, finite and above 0, without a range filter: a pixel beyond the
            range is half of the edge that its neighbour lies on. A factor on it changes nothing.
        threshold: Relative change of depth per pixel, above that of the surroundings, from which a pixel floats.

    Returns:
        (h, w) bool, True where the pixel floats.
    """
    inverse = 1 / depth_m.astype(np.float32, copy=False)  # (h, w) 1/m
    # Repeating the border halves the slope there, where networks bend surfaces for want of context.
    padded = np.pad(inverse, REACH_PX, mode="edge")
    centre, ahead, behind = slice(REACH_PX, -REACH_PX), slice(2 * REACH_PX, None), slice(-2 * REACH_PX)
    down = (padded[ahead, centre] - padded[behind, centre]) / (2 * REACH_PX)
    right = (padded[centre, ahead] - padded[centre, behind]) / (2 * REACH_PX)
    slope = cv2.magnitude(right, down)
    # In a small picture the square has to fit between the halved borders, or no plane would fill it.
    side = max(1, min(SURROUNDINGS_PX, min(inverse.shape) - 2 * REACH_PX - 1)) // 2 * 2 + 1  # odd: an even one shifts
    surroundings = cv2.morphologyEx(slope, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    return slope - surroundings > np.float32(threshold) * inverse
