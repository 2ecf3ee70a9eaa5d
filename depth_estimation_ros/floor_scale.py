"""The scale that the floor tells, slowly: bounded around the user's own, and still where no floor is seen."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.camera_pose import CameraPose
from depth_estimation_ros.floor_plane import fit_floor

LEAST_FACTOR, GREATEST_FACTOR = 0.7, 1.4
"""Around `scale`. What lies outside is more likely a table or a wrong camera_height than the floor."""

GOOD_SHARE = 0.35
"""Least share of the points below the horizon that must lie on one plane."""

TILT_DEG = 5.0
"""By so much the floor may look tilted: mounting, a bump, and depth that is a little bent."""

MEDIAN_FRAMES = 5
GAIN = 0.1
"""Share of the way to the median of the last `MEDIAN_FRAMES` that one frame goes."""


@dataclass(frozen=True)
class FloorReading:
    """What the floor says at one frame.

    Attributes:
        factor: To multiply depth by, on top of `scale`.
        inlier_share: Of the plane found, 0 where none was.
        note: "seen", or why this frame has not moved the factor.
    """

    factor: float
    inlier_share: float
    note: str


class FloorScale:
    """The filtered factor of one camera; it starts at 1."""

    def __init__(self) -> None:
        self._forget(None)

    def _forget(self, scale: float | None) -> None:
        self._scale = scale
        self._log_factor = 0.0
        self._recent: deque[float] = deque(maxlen=MEDIAN_FRAMES)

    def update(self, depth_m: np.ndarray, k: np.ndarray | None, pose: CameraPose | None, scale: float) -> FloorReading:
        """Look at one frame.

        Args:
            depth_m: (h, w) metres before `scale`; NaN where unknown.
            k: (3, 3) its intrinsics, None where unknown.
            pose: The camera's; None where unknown.
            scale: The user's; where it changes the filter begins anew.
        """
        if scale != self._scale:
            self._forget(scale)
        if k is None or pose is None:
            return self._reading(0.0, "the camera's calibration or pose is unknown")
        floor = fit_floor(depth_m, k, pose.up_camera, TILT_DEG)
        if floor is None or floor.inlier_share < GOOD_SHARE:
            return self._reading(0.0 if floor is None else floor.inlier_share, "not seen")
        factor = pose.height_m / (floor.height_m * scale)
        if not LEAST_FACTOR <= factor <= GREATEST_FACTOR:
            return self._reading(
                floor.inlier_share,
                f"a floor would need {factor:.2f} times scale, and only {LEAST_FACTOR:g} to {GREATEST_FACTOR:g} is "
                "believed: check camera_height, or run calibrate_scale",
            )
        self._recent.append(math.log(factor))
        if len(self._recent) < MEDIAN_FRAMES:
            return self._reading(floor.inlier_share, "seen, too few frames yet")
        self._log_factor += GAIN * (float(np.median(self._recent)) - self._log_factor)
        return self._reading(floor.inlier_share, "seen")

    def _reading(self, inlier_share: float, note: str) -> FloorReading:
        return FloorReading(math.exp(self._log_factor), inlier_share, note)
