"""The factor between estimated depth and a trusted source, robustly: median of log ratios within and over frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.floor_plane import fit_floor, robust_deviation
from depth_estimation_ros.floor_scale import GOOD_SHARE
from depth_estimation_ros.point_cloud import is_measured

LEAST_FRAMES = 5
LEAST_OVERLAP = 0.1
"""Share of the depth image's pixels that a reference depth must cover."""

LEAST_BEAMS = 15
"""Beams of a reference scan that must meet valid depth."""

GREATEST_PIXEL_SPREAD = 0.35
GREATEST_FRAME_SPREAD = 0.12
"""Robust standard deviations of log ratios above which the two do not look at the same thing."""

ASPECT_TOLERANCE = 0.03


class ScaleError(ValueError):
    """No scale can be told; one sentence with what was seen and what to do."""


@dataclass(frozen=True)
class FrameRatio:
    """Reference over estimate in one frame.

    Attributes:
        log_ratio: Median over its pixels.
        log_spread: Robust standard deviation over them.
        pixels: How many were compared.
    """

    log_ratio: float
    log_spread: float
    pixels: int


@dataclass(frozen=True)
class ScaleResult:
    """What to set, and how far it can be trusted.

    Attributes:
        factor: Reference over the depth as it is published now.
        pixel_spread, frame_spread: Relative, 0.05 is 5 %: within frames, and of frame against frame.
        frames, pixels: Compared.
    """

    factor: float
    pixel_spread: float
    frame_spread: float
    frames: int
    pixels: int


def frame_from_depth(estimate_m: np.ndarray, reference_m: np.ndarray) -> FrameRatio:
    """Compare with the depth image of a camera that has the same view, of whatever size.

    Args:
        estimate_m: (h, w) metres; what is not finite or not above zero is left out.
        reference_m: (H, W) likewise; each estimate meets the reference's pixel under its centre.

    Raises:
        ScaleError: Another aspect, or too little is valid in both.
    """
    (h, w), (height, width) = estimate_m.shape, reference_m.shape
    if abs(w * height / (h * width) - 1) > ASPECT_TOLERANCE:
        raise ScaleError(
            f"the reference is {width}x{height} and the depth {w}x{h}, which cannot be the same view: give depth that "
            "is registered to the colour camera, and set output_size to camera where the model's size is fixed"
        )
    rows = ((np.arange(h) + 0.5) * height / h).astype(np.intp)
    columns = ((np.arange(w) + 0.5) * width / w).astype(np.intp)
    reference_m = reference_m[np.ix_(rows, columns)]
    both = is_measured(estimate_m) & is_measured(reference_m)
    if both.mean() < LEAST_OVERLAP:
        raise ScaleError(
            f"only {both.mean():.0%} of the pixels are valid in both, {LEAST_OVERLAP:.0%} are needed: look at "
            "something within both ranges, and check that the reference is registered to the colour camera"
        )
    return _frame(reference_m[both], estimate_m[both])


def frame_from_points(estimate_m: np.ndarray, k: np.ndarray, points_camera: np.ndarray) -> FrameRatio:
    """Compare with points measured by another sensor, such as the beams of a laser scan.

    Args:
        estimate_m: (h, w) metres.
        k: (3, 3) its intrinsics, pixels.
        points_camera: (n, 3) metres in the optical frame.

    Raises:
        ScaleError: Too few of them meet valid depth.
    """
    height, width = estimate_m.shape
    ahead = points_camera[points_camera[:, 2] > 0.05]
    pixels = ahead @ np.asarray(k).T
    columns, rows = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(np.int64).T
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    met_m, z_m = estimate_m[rows[inside], columns[inside]], ahead[inside, 2]
    valid = is_measured(met_m)
    if valid.sum() < LEAST_BEAMS:
        raise ScaleError(
            f"only {valid.sum()} of {len(points_camera)} beams meet valid depth, {LEAST_BEAMS} are needed: check the "
            "transform between scanner and camera (--pose), and stand where both see the same walls"
        )
    return _frame(z_m[valid], met_m[valid])


def frame_from_floor(
    estimate_m: np.ndarray, k: np.ndarray, up_camera: np.ndarray, height_m: float, tilt_deg: float
) -> FrameRatio:
    """Compare with the camera's known height above the floor.

    Args:
        estimate_m: (h, w) metres.
        k: (3, 3) its intrinsics, pixels.
        up_camera: (3,) unit vector away from the floor in the optical frame.
        height_m: True height of the camera above the floor.
        tilt_deg: Degrees by which up_camera may be wrong.

    Raises:
        ScaleError: No floor, or too little of it.
    """
    floor = fit_floor(estimate_m, k, up_camera, tilt_deg)
    if floor is None or floor.inlier_share < GOOD_SHARE:
        share = 0.0 if floor is None else floor.inlier_share
        raise ScaleError(
            f"only {share:.0%} of what is below the horizon lies on one floor, {GOOD_SHARE:.0%} is needed: clear the "
            "floor before the camera, and give --camera-pitch where the camera is not level"
        )
    return FrameRatio(math.log(height_m / floor.height_m), floor.log_spread, floor.point_count)


def combine(frames: Sequence[FrameRatio]) -> ScaleResult:
    """Take the median over the frames.

    Raises:
        ScaleError: Too few frames, or they or their pixels disagree too much.
    """
    if len(frames) < LEAST_FRAMES:
        raise ScaleError(
            f"only {len(frames)} frames could be compared, {LEAST_FRAMES} are needed: give it more time (--timeout)"
        )
    log_ratios = np.array([frame.log_ratio for frame in frames])
    pixel_spread = float(np.median([frame.log_spread for frame in frames]))
    frame_spread = robust_deviation(log_ratios)
    if pixel_spread > GREATEST_PIXEL_SPREAD:
        raise ScaleError(
            f"the ratio scatters by {pixel_spread:.0%} within a frame, {GREATEST_PIXEL_SPREAD:.0%} is allowed: check "
            "that both look at the same thing (registration, --pose), and choose a scene without glass or mirrors"
        )
    if frame_spread > GREATEST_FRAME_SPREAD:
        raise ScaleError(
            f"the ratio scatters by {frame_spread:.0%} from frame to frame, {GREATEST_FRAME_SPREAD:.0%} is allowed: "
            "hold the robot still, or compare in one kind of room at a time"
        )
    return ScaleResult(
        math.exp(float(np.median(log_ratios))),
        pixel_spread,
        frame_spread,
        len(frames),
        sum(frame.pixels for frame in frames),
    )


def _frame(reference_m: np.ndarray, estimate_m: np.ndarray) -> FrameRatio:
    log_ratios = np.log(np.asarray(reference_m, float) / np.asarray(estimate_m, float))
    return FrameRatio(float(np.median(log_ratios)), robust_deviation(log_ratios), log_ratios.size)
