"""A pinhole's intrinsics in pixels; pixel centres lie at whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Sides are whole numbers, and some are rounded to even ones: images that differ by more are of another shape.
MOST_STRETCH = 0.02


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (H, W) have one aspect ratio, within :data:`MOST_STRETCH`."""
    return abs(size[1] * other[0] / (size[0] * other[1]) - 1) <= MOST_STRETCH


def focal_lengths_at(
    focal_px: tuple[float, float], size: tuple[int, int], image_size: tuple[int, int]
) -> tuple[float, float]:
    """(fx, fy) that a camera has, or is taken to have, for images of another size.

    Args:
        focal_px: (fx, fy) for images of ``size``.
        size: (H, W).
        image_size: (H, W) of the images in question. Where they are of another shape they are taken for those of a
            lens that sees as much along the longer side, whose pixels are square.
    """
    if not same_shape(size, image_size):
        factor = max(image_size) / max(size)
        return focal_px[0] * factor, focal_px[1] * factor
    return focal_px[0] * image_size[1] / size[1], focal_px[1] * image_size[0] / size[0]


@dataclass(frozen=True)
class Intrinsics:
    """One camera's pinhole at the size of its images.

    Attributes:
        fx: Horizontal focal length, pixels.
        fy: Vertical focal length, pixels.
        cx: Column of the principal point, pixels; None for the middle of the image.
        cy: Row of the principal point, pixels; None for the middle of the image.
    """

    fx: float
    fy: float
    cx: float | None = None
    cy: float | None = None

    def matrix(self, image_size: tuple[int, int]) -> np.ndarray:
        """(3, 3) float64 intrinsics for images of (H, W) pixels, which says where the middle is."""
        height, width = image_size
        cx = (width - 1) / 2 if self.cx is None else self.cx
        cy = (height - 1) / 2 if self.cy is None else self.cy
        return np.array([[self.fx, 0.0, cx], [0.0, self.fy, cy], [0.0, 0.0, 1.0]])
