"""A pinhole's intrinsics in pixels; pixel centres lie at whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
