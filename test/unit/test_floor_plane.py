"""The floor's height in scenes whose floor is known: ray-cast planes, tables, walls, noise, and the demo's room."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_estimation_ros.camera_pose import pose_over_floor
from depth_estimation_ros.demo.frames import NYU_K
from depth_estimation_ros.demo.room import Pose, camera_path, cast_rays
from depth_estimation_ros.demo.room_layout import build_room
from depth_estimation_ros.floor_plane import fit_floor
from depth_estimation_ros.floor_scale import GOOD_SHARE, FloorScale

K = np.array([[130.0, 0, 79.5], [0, 130.0, 59.5], [0, 0, 1]])
SIZE = (120, 160)
ROOM = build_room()


def rays_of(pose) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    pixels = np.stack([columns, rows, np.ones_like(rows)], -1).astype(float)
    return pixels @ np.linalg.inv(K).T @ pose.rotation.T


def scene(pose, wall_m: float | None = None, table_m: float | None = None) -> np.ndarray:
    """Depth of a floor, a wall across the view, and a table from one metre ahead on, on the left."""
    rays = rays_of(pose)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = -pose.height_m / rays[..., 2]
        depth_m = np.where(floor > 0, floor, np.inf)
        if wall_m is not None:
            ahead = wall_m / rays[..., 0]
            depth_m = np.where(ahead > 0, np.minimum(depth_m, ahead), depth_m)
        if table_m is not None:
            top = (table_m - pose.height_m) / rays[..., 2]
            on_it = (top > 0) & (top * rays[..., 0] > 1.0) & (top * rays[..., 1] > 0)
            depth_m = np.where(on_it, np.minimum(depth_m, top), depth_m)
    return depth_m


heights, pitches = st.floats(0.2, 1.5), st.floats(0, 40)


@settings(max_examples=60, deadline=None)
@given(heights, pitches, st.floats(-10, 10), st.floats(0.3, 3), st.booleans())
def test_a_clean_floor_is_exact_at_any_scale(height_m, pitch_deg, roll_deg, factor, tilted):
    pose = pose_over_floor(height_m, pitch_deg, "foot", roll_deg)
    floor = fit_floor(scene(pose) * factor, K, pose.up_camera, 5.0 if tilted else 0.0)
    assert floor is not None
    assert floor.height_m == pytest.approx(height_m * factor, rel=1e-6)
    np.testing.assert_allclose(floor.normal, pose.up_camera, atol=1e-6)
    assert floor.inlier_share > 0.99


@settings(max_examples=40, deadline=None)
@given(heights, st.floats(10, 35), st.floats(-4, 4), st.integers(0, 99))
def test_noise_a_wall_and_a_wrong_pitch_leave_the_height_within_three_percent(height_m, pitch_deg, error_deg, seed):
    pose = pose_over_floor(height_m, pitch_deg, "foot")
    believed = pose_over_floor(height_m, pitch_deg + error_deg, "foot")
    noise = np.random.default_rng(seed).lognormal(0, 0.03, SIZE)
    floor = fit_floor(scene(pose, wall_m=4 * height_m) * noise, K, believed.up_camera, 5.0)
    assert floor is not None
    assert floor.height_m == pytest.approx(height_m, rel=0.03)
    assert floor.inlier_share > GOOD_SHARE


def test_a_table_is_no_floor_where_floor_is_seen_beside_it():
    pose = pose_over_floor(1.4, 25, "foot")
    depth_m = scene(pose, table_m=0.75)
    assert (np.abs(1.4 + depth_m * rays_of(pose)[..., 2] - 0.75) < 0.01).mean() > 0.3
    for tilt_deg in (0.0, 5.0):
        floor = fit_floor(depth_m, K, pose.up_camera, tilt_deg)
        assert floor is not None
        assert floor.height_m == pytest.approx(1.4, rel=0.01)


@pytest.mark.parametrize("tilt_deg", [0.0, 5.0])
@pytest.mark.parametrize("pitch_deg", [0.0, 15.0])
def test_a_wall_has_no_good_floor(tilt_deg, pitch_deg):
    pose = pose_over_floor(1.0, pitch_deg, "foot")
    depth_m = 1.5 / rays_of(pose)[..., 0]
    floor = fit_floor(depth_m, K, pose.up_camera, tilt_deg)
    assert floor is None or floor.inlier_share < GOOD_SHARE


def test_nothing_known_or_nothing_below_the_horizon_gives_none():
    pose = pose_over_floor(1.0, 0, "foot")
    assert fit_floor(np.full(SIZE, np.nan), K, pose.up_camera) is None
    assert fit_floor(scene(pose), K, pose_over_floor(1.0, -60, "foot").up_camera) is None


def test_the_same_picture_gives_the_same_floor():
    pose = pose_over_floor(0.5, 20, "foot")
    depth_m = scene(pose, wall_m=2) * np.random.default_rng(0).lognormal(0, 0.05, SIZE)
    first, second = (fit_floor(depth_m, K, pose.up_camera, 5.0) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.height_m, first.inlier_share) == (second.height_m, second.inlier_share)


def room_depth(pose: Pose) -> np.ndarray:
    return cast_rays(ROOM, pose, NYU_K, 480, 640).depth_m[2::4, 2::4]


def test_in_a_furnished_room_the_floor_is_right_wherever_it_is_said_to_be_seen():
    k = NYU_K.copy()  # of every fourth pixel from the third on
    k[:2, 2] -= 2
    k[:2] /= 4
    seen = 0
    for fraction in np.linspace(0, 1, 9):
        pose = camera_path(float(fraction))
        floor = fit_floor(room_depth(pose), k, pose.rotation()[2], 5.0)
        if floor is not None and floor.inlier_share >= GOOD_SHARE:
            seen += 1
            assert floor.height_m == pytest.approx(pose.position_m[2], rel=0.02)
    assert seen >= 2


POSE = pose_over_floor(0.5, 25, "foot")


def run(scales: FloorScale, depth_m: np.ndarray, count: int, scale: float = 1.0):
    for _ in range(count):
        reading = scales.update(depth_m, K, POSE, scale)
    return reading


def test_the_floor_scale_moves_slowly_to_the_truth():
    scales = FloorScale()
    depth_m = scene(POSE, wall_m=3) / 1.2
    factors = [run(scales, depth_m, 1).factor for _ in range(80)]
    assert factors[3] == 1.0
    assert np.max(np.diff(factors)) < 0.03
    assert (np.diff(factors) >= 0).all()
    assert factors[-1] == pytest.approx(1.2, rel=0.01)
    assert run(FloorScale(), depth_m, 80, scale=1.3).factor == pytest.approx(1.2 / 1.3, rel=0.01)


def test_it_never_moves_where_no_floor_is_seen():
    scales = FloorScale()
    known = run(scales, scene(POSE) / 1.2, 30).factor
    wall = 1.0 / rays_of(POSE)[..., 0]
    for blind in (wall, np.full(SIZE, np.nan), scene(POSE) / 3):
        reading = run(scales, blind, 20)
        assert reading.factor == known
        assert reading.note != "seen"
    assert scales.update(scene(POSE), K, None, 1.0).factor == known
    assert scales.update(scene(POSE), None, POSE, 1.0).factor == known


def test_outside_the_bounds_it_says_what_it_would_need():
    reading = run(FloorScale(), scene(POSE) / 1.6, 20)
    assert reading.factor == 1.0
    assert "1.60 times scale" in reading.note
    assert "camera_height" in reading.note


def test_one_strange_frame_is_outvoted():
    scales = FloorScale()
    settled = run(scales, scene(POSE) / 1.1, 100).factor
    run(scales, scene(POSE) / 0.75, 1)
    assert run(scales, scene(POSE) / 1.1, 1).factor == pytest.approx(settled, rel=1e-3)


def test_a_new_scale_of_the_user_begins_anew():
    scales = FloorScale()
    run(scales, scene(POSE) / 1.2, 50)
    assert run(scales, scene(POSE) / 1.2, 1, scale=1.2).factor == 1.0
