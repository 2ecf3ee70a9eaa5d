"""Surfaces, however steep, keep their pixels; ramps between surfaces lose theirs. All depth here is of closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from depth_estimation_ros.flying_pixels import flying_pixels
from depth_estimation_ros.parameters import Parameters

THRESHOLD = Parameters().points_filter_threshold
FOCAL_PX = 260.0
ANGLES = st.floats(-math.pi, math.pi)


def plane_m(size: tuple[int, int], normal: tuple[float, float, float], distance_m: float) -> np.ndarray:
    """(h, w) float64 z-depth of the plane normal . P = distance_m, from a pinhole in the middle of the picture."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    x, y = (columns - (width - 1) / 2) / FOCAL_PX, (rows - (height - 1) / 2) / FOCAL_PX
    return distance_m / (normal[0] * x + normal[1] * y + normal[2])


def facing(tilt: float, turn: float) -> tuple[float, float, float]:
    return math.sin(tilt) * math.cos(turn), math.sin(tilt) * math.sin(turn), math.cos(tilt)


@settings(deadline=None, max_examples=200)
@given(
    size=st.tuples(st.integers(32, 130), st.integers(32, 170)),
    tilt=st.floats(0, math.radians(89)),
    turn=ANGLES,
    distance_m=st.floats(0.05, 10),
    threshold=st.floats(0.001, 0.05),
)
def test_no_plane_loses_a_pixel_at_whatever_angle_it_is_seen(size, tilt, turn, distance_m, threshold):
    depth_m = plane_m(size, facing(tilt, turn), distance_m)
    assume((depth_m > 0.05).all() and (depth_m < 100).all())
    assert not flying_pixels(depth_m.astype(np.float32), threshold).any()


@settings(deadline=None, max_examples=100)
@given(
    tilts=st.tuples(st.floats(0, 1.2), st.floats(0, 1.2)),
    turns=st.tuples(ANGLES, ANGLES),
    distance_m=st.floats(0.5, 4),
    is_convex=st.booleans(),
)
def test_a_crease_between_two_surfaces_keeps_almost_all_its_pixels(tilts, turns, distance_m, is_convex):
    size = (160, 200)
    faces_m = []
    for tilt, turn in zip(tilts, turns, strict=True):
        normal = facing(tilt, turn)
        faces_m.append(plane_m(size, normal, distance_m * normal[2]))  # both meet in the middle of the picture
    depth_m = (np.maximum if is_convex else np.minimum)(*faces_m)
    assume((depth_m > 0.05).all() and (depth_m < 100).all())
    assert flying_pixels(depth_m.astype(np.float32), THRESHOLD).mean() < 0.02


def test_the_floor_of_a_low_robot_stays():
    camera_height_m, wall_m = 0.25, 4.0
    rows = np.mgrid[:240, :320][0]
    below_horizon = (rows - 119.5) / FOCAL_PX
    with np.errstate(divide="ignore"):
        floor_m = np.where(below_horizon > 0, camera_height_m / below_horizon, np.inf)
    depth_m = np.minimum(floor_m, wall_m).astype(np.float32)
    far_floor = (floor_m < 3.9) & (floor_m > 2)
    steepness = np.abs(np.diff(depth_m, axis=0, prepend=depth_m[:1])) / depth_m
    assert steepness[far_floor].min() > 2 * THRESHOLD  # far beyond what a limit on the slope would let pass
    assert not flying_pixels(depth_m, THRESHOLD)[floor_m < 3.9].any()


@settings(deadline=None, max_examples=200)
@given(
    near_m=st.floats(0.5, 3),
    ratio=st.floats(1.5, 4),
    width_px=st.integers(2, 16),
    turn=ANGLES,
    is_inverse=st.booleans(),
)
def test_a_smeared_step_loses_its_ramp_and_nothing_else(near_m, ratio, width_px, turn, is_inverse):
    rows, columns = np.mgrid[:120, :160]
    across = (columns - 79.5) * math.cos(turn) + (rows - 59.5) * math.sin(turn)  # pixels from the step
    share = np.clip(across / width_px + 0.5, 0, 1)
    far_m = near_m * ratio
    depth_m = 1 / (1 / near_m + share * (1 / far_m - 1 / near_m)) if is_inverse else near_m + share * (far_m - near_m)
    floats = flying_pixels(depth_m.astype(np.float32), THRESHOLD)
    inside = (rows > 8) & (rows < 111) & (columns > 8) & (columns < 151)  # a slope is half known at the border
    between = (depth_m > 1.1 * near_m) & (depth_m < far_m / 1.1)
    assert floats[between & inside].all()
    assert not floats[np.abs(across) > width_px / 2 + 8].any()


def test_ramps_beneath_the_threshold_stay():
    share = np.clip((np.arange(160) - 70) / 20, 0, 1)
    depth_m = np.tile(2 + 0.2 * share, (120, 1)).astype(np.float32)  # ten percent over twenty pixels: 0.005 per pixel
    assert not flying_pixels(depth_m, 0.006).any()
    assert flying_pixels(depth_m, 0.004)[:, 75:86].all()


def test_a_factor_on_depth_changes_nothing():
    random = np.random.default_rng(2)
    depth_m = np.exp(np.cumsum(random.normal(0, 0.02, (60, 80)), axis=1)).astype(np.float32)
    floats = flying_pixels(depth_m, THRESHOLD)
    assert 0 < floats.mean() < 1
    np.testing.assert_array_equal(flying_pixels(depth_m * 4, THRESHOLD), floats)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 5), (32, 32)])
def test_a_picture_smaller_than_its_surroundings_is_no_trouble(size):
    depth_m = np.full(size, 2, np.float32)
    before = depth_m.copy()
    floats = flying_pixels(depth_m, THRESHOLD)
    assert (floats.shape, floats.dtype, floats.any()) == (size, bool, False)
    np.testing.assert_array_equal(depth_m, before)
