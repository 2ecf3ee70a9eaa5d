"""What a demo source yields: one colour image, the pinhole that took it, and the true depth, where these are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.rectification import focal_of_view


@dataclass(frozen=True)
class SourceFrame:
    """One image to publish.

    `image_rgb` is (H, W, 3) uint8, `k` the (3, 3) float64 intrinsics in pixels or None for an unknown camera,
    `truth_m` the (H, W) float32 z-depth in metres with NaN for unknown, or None.
    """

    name: str
    image_rgb: np.ndarray
    k: np.ndarray | None = None
    truth_m: np.ndarray | None = None


def pinhole(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """Return the (3, 3) float64 intrinsic matrix, in pixels; pixel centres lie at whole numbers as in OpenCV."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class GivenIntrinsics:
    """What the user says about the camera: a horizontal field of view, or focal lengths in pixels, or nothing."""

    hfov_deg: float | None = None
    fx: float | None = None
    fy: float | None = None

    def matrix(self, height: int, width: int) -> np.ndarray | None:
        """Return the (3, 3) intrinsics of an image of this size, centred; None if nothing is said."""
        cx, cy = (width - 1) / 2.0, (height - 1) / 2.0
        if self.fx is not None:
            return pinhole(self.fx, self.fy if self.fy is not None else self.fx, cx, cy)
        if self.hfov_deg is not None:
            focal_px = focal_of_view(width, self.hfov_deg)
            return pinhole(focal_px, focal_px, cx, cy)
        return None


# The colour camera of NYU Depth V2's Kinect, as the data set's own toolbox calibrates it, for 640x480.
NYU_SIZE = (480, 640)
NYU_K = pinhole(518.8579, 519.4696, 325.5824, 253.7362)
