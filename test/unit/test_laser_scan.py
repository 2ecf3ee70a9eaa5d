"""Scans of walls and floors whose ranges are known in closed form, under any pose of the camera."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from depth_estimation_ros.camera_pose import CameraPose, pose_over_floor, rotation_from_rpy
from depth_estimation_ros.laser_scan import Band, depth_to_scan, scan_message

K = np.array([[130.0, 0, 79.5], [0, 130.0, 59.5], [0, 0, 1]])
SIZE = (120, 160)
BAND = Band(0.1, 0.8, 0.0, 10.0)


def world_rays(rotation: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    pixels = np.stack([columns, rows, np.ones_like(rows)], -1).astype(float)
    return pixels @ np.linalg.inv(K).T @ rotation.T


def depth_of_planes(pose: CameraPose, planes: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """Depth of the nearest of the planes n . P = d (z-up frame), marked as the node marks it."""
    rays = world_rays(pose.rotation)
    origin = np.array([pose.x_m, pose.y_m, pose.height_m])
    depth_m = np.full(SIZE, np.inf)
    for normal, distance in planes:
        with np.errstate(divide="ignore"):
            along = (distance - normal @ origin) / (rays @ normal)
        depth_m = np.where(along > 0, np.minimum(depth_m, along), depth_m)
    depth_m[depth_m > BAND.max_range_m] = np.inf
    return depth_m.astype(np.float32)


FLOOR = (np.array([0.0, 0.0, 1.0]), 0.0)


def wall(bearing_rad: float, distance_m: float) -> tuple[np.ndarray, float]:
    return np.array([np.cos(bearing_rad), np.sin(bearing_rad), 0.0]), distance_m


def bearings(scan) -> np.ndarray:
    return scan.angle_min_rad + scan.angle_increment_rad * np.arange(scan.ranges_m.size)


poses = st.builds(pose_over_floor, st.floats(0.2, 1.4), st.floats(-10, 35), st.just("foot"), st.floats(-20, 20))


@settings(max_examples=150, deadline=None)
@given(pose=poses, distance_m=st.floats(0.6, 5), bearing_rad=st.floats(-0.4, 0.4))
def test_a_wall_is_where_it_stands_whatever_the_pose(pose, distance_m, bearing_rad):
    depth_m = depth_of_planes(pose, [FLOOR, wall(bearing_rad, distance_m)])
    scan = depth_to_scan(depth_m, K, pose, BAND)
    half = scan.angle_increment_rad / 2
    edges = bearings(scan)[:, None] + np.array([-half, 0, half])
    cosine = np.cos(edges - bearing_rad)
    expected = distance_m / cosine  # a wall's range is the same at every height
    found = np.isfinite(scan.ranges_m)
    assert (scan.ranges_m[found] >= expected.min(axis=1)[found] * (1 - 1e-4)).all()
    assert (scan.ranges_m[found] <= expected.max(axis=1)[found] * (1 + 1e-4)).all()
    # And it is found wherever a pixel looks at it inside the band.
    rays = world_rays(pose.rotation)
    height_m = pose.height_m + np.where(np.isfinite(depth_m), depth_m, 0) * rays[..., 2]
    looks = np.isfinite(depth_m) & (height_m > BAND.min_height_m + 1e-3) & (height_m < BAND.max_height_m - 1e-3)
    looks &= depth_m * np.hypot(rays[..., 0], rays[..., 1]) < BAND.max_range_m
    seen_rad = np.arctan2(rays[..., 1], rays[..., 0])[looks]
    beam = np.rint((seen_rad - scan.angle_min_rad) / scan.angle_increment_rad).astype(int)
    assert np.isfinite(scan.ranges_m[beam]).all()


@settings(max_examples=80, deadline=None)
@given(height_m=st.floats(0.15, 1.4), roll_deg=st.floats(-5, 5), pitch_deg=st.floats(-8, 45))
def test_floor_alone_is_never_an_obstacle_and_free_ahead(height_m, roll_deg, pitch_deg):
    pose = pose_over_floor(height_m, pitch_deg, "foot", roll_deg)
    scan = depth_to_scan(depth_of_planes(pose, [FLOOR]), K, pose, BAND)
    assert (np.isposinf(scan.ranges_m) | np.isnan(scan.ranges_m)).all()
    count = scan.ranges_m.size
    assert np.isposinf(scan.ranges_m[count // 4 : -count // 4]).all()


def test_the_lower_corners_of_a_pitched_picture_do_not_promise_what_they_cannot_see():
    pose = pose_over_floor(0.5, 45, "foot")
    scan = depth_to_scan(depth_of_planes(pose, [FLOOR]), K, pose, BAND)
    assert np.isnan(scan.ranges_m[[0, -1]]).all()


def test_a_level_camera_sees_floor_free_in_every_beam():
    pose = pose_over_floor(0.3, 0, "foot")
    scan = depth_to_scan(depth_of_planes(pose, [FLOOR]), K, pose, BAND)
    assert np.isposinf(scan.ranges_m).all()
    half_fov = np.arctan2(79.5, 130)
    assert scan.angle_min_rad == pytest.approx(-half_fov, abs=1e-6)
    assert bearings(scan)[-1] == pytest.approx(half_fov, abs=1e-6)
    assert 1 / 130 <= scan.angle_increment_rad < 1.02 / 130
    assert abs(scan.ranges_m.size - 160) < 20


def test_what_hangs_above_the_band_is_no_obstacle_and_what_stands_in_front_of_a_wall_is():
    pose = pose_over_floor(0.3, 0, "foot")
    rays = world_rays(pose.rotation)
    depth_m = depth_of_planes(pose, [FLOOR, wall(0, 4.0)])
    overhang = 1.0 + np.zeros(SIZE)  # a beam one metre ahead, from 0.9 m up: above the band only
    overhead = 0.3 + overhang * rays[..., 2] > 0.65
    high = Band(0.1, 0.6, 0.0, 10.0)
    with_overhang = np.where(overhead, overhang, depth_m).astype(np.float32)
    np.testing.assert_array_equal(
        depth_to_scan(with_overhang, K, pose, high).ranges_m, depth_to_scan(depth_m, K, pose, high).ranges_m
    )
    box = (np.abs(rays[..., 1]) < 0.1) & (0.3 + 1.0 * rays[..., 2] < 0.2) & (0.3 + 1.0 * rays[..., 2] > 0)
    scan = depth_to_scan(np.where(box, 1.0, depth_m).astype(np.float32), K, pose, high)
    ahead = np.abs(np.tan(bearings(scan))) < 0.09
    np.testing.assert_allclose(scan.ranges_m[ahead], 1 / np.cos(bearings(scan)[ahead]), rtol=1e-3)
    aside = np.abs(np.tan(bearings(scan))) > 0.12
    np.testing.assert_allclose(scan.ranges_m[aside], 4 / np.cos(bearings(scan)[aside]), rtol=5e-3)


def test_unknown_pixels_are_unknown_beams_and_too_near_ones_say_so():
    pose = pose_over_floor(0.3, 0, "foot")
    depth_m = depth_of_planes(pose, [FLOOR])
    depth_m[:, :40] = np.nan
    depth_m[:50, 40:80] = np.nan  # less than half of these columns
    depth_m[60, 120] = 0.15
    scan = depth_to_scan(depth_m, K, pose, Band(0.1, 0.8, 0.2, 10.0))
    column = np.tan(-bearings(scan)) * 130 + 79.5
    assert np.isnan(scan.ranges_m[column < 39]).all()
    assert np.isposinf(scan.ranges_m[(column > 41) & (column < 119)]).all()
    assert np.isneginf(scan.ranges_m[np.abs(column - 120).argmin()])


@pytest.mark.parametrize(("height_m", "pitch_deg", "min_range_m"), [(0.3, 20, 0.5), (0.3, 10, 0.5), (0.5, 30, 0.6)])
def test_floor_nearer_than_the_least_range_is_no_obstacle(height_m, pitch_deg, min_range_m):
    """The camera stands within the band, as most robots' do."""
    pose, cut = pose_over_floor(height_m, pitch_deg, "foot"), Band(0.15, 1.6, min_range_m, 10.0)
    depth_m = depth_of_planes(pose, [FLOOR, wall(0, 1.2)])
    assert (depth_m < min_range_m).any()
    expected = depth_to_scan(depth_m, K, pose, Band(0.15, 1.6, 0.0, 10.0)).ranges_m
    assert np.isfinite(expected).sum() > 60
    np.testing.assert_array_equal(depth_to_scan(depth_m, K, pose, cut).ranges_m, expected)
    post = world_rays(pose.rotation)[..., 1] > 0.3  # everything left of a bearing, half way to the least range
    near = depth_to_scan(np.where(post, np.minimum(depth_m, min_range_m / 2), depth_m), K, pose, cut).ranges_m
    assert np.isneginf(near).sum() >= 6
    assert not (near[-10:] > 0).any()
    np.testing.assert_array_equal(near[:60], expected[:60])


def test_what_is_too_near_to_the_camera_is_so_from_any_origin():
    """A gripper before the lens, which min_range is set to leave out."""
    pose = CameraPose(pose_over_floor(0.5, 0, "base").rotation, 0.3, 0.0, 0.5, "base")
    depth_m = depth_of_planes(pose, [FLOOR, wall(0, 3.0)])
    gripper = np.zeros(SIZE, bool)
    gripper[50:70, 70:90] = True
    held = depth_to_scan(np.where(gripper, np.float32(0.2), depth_m), K, pose, Band(0.1, 0.8, 0.4, 10.0)).ranges_m
    ahead = held[held.size // 2 - 3 : held.size // 2 + 4]
    assert np.isneginf(ahead).any()
    assert not (ahead[np.isfinite(ahead)] < 2).any()
    assert np.isfinite(held).sum() > 60


@pytest.mark.parametrize("pitch_deg", [0.0, 10.0])
def test_a_low_box_that_is_not_trusted_is_not_free(pitch_deg):
    pose = pose_over_floor(0.3, pitch_deg, "foot")
    rays, floor_m = world_rays(pose.rotation), depth_of_planes(pose, [FLOOR])
    along = 1.0 / rays[..., 0]  # to the plane one metre ahead
    box = (np.abs(along * rays[..., 1]) < 0.15) & (0.3 + along * rays[..., 2] < 0.3) & (0.3 + along * rays[..., 2] > 0)
    suspected_m = np.where(box, along, floor_m).astype(np.float32)
    trusted_m = np.where(box, np.nan, floor_m).astype(np.float32)
    scan = depth_to_scan(trusted_m, K, pose, BAND, suspected_m)
    ahead = np.abs(np.tan(bearings(scan))) < 0.12
    assert np.isnan(scan.ranges_m[ahead]).all()
    aside = (np.abs(np.tan(bearings(scan))) > 0.18) & (np.abs(bearings(scan)) < 0.4)
    assert np.isposinf(scan.ranges_m[aside]).all()
    # Floor that is not trusted is no obstacle.
    np.testing.assert_array_equal(
        depth_to_scan(trusted_m, K, pose, BAND, floor_m).ranges_m, depth_to_scan(trusted_m, K, pose, BAND).ranges_m
    )


@pytest.mark.parametrize(("place", "is_hidden"), [(0.5, True), (0.8, True), (0.95, False), (1.2, False)])
def test_no_beam_looks_past_what_is_not_trusted(place, is_hidden):
    pose = pose_over_floor(0.3, 0, "foot")
    rays, wall_m = world_rays(pose.rotation), depth_of_planes(pose, [FLOOR, wall(0, 3.0)])
    pillar = np.abs(rays[..., 1]) < 0.1
    top = rays[..., 2] > 0.1  # above it the wall shows
    suspected_m = np.where(pillar & ~top, np.minimum(place * 3.0, np.inf), wall_m).astype(np.float32)
    trusted_m = np.where(pillar & ~top, np.nan, wall_m).astype(np.float32)
    scan = depth_to_scan(trusted_m, K, pose, BAND, suspected_m)
    ahead, aside = np.abs(np.tan(bearings(scan))) < 0.09, np.abs(np.tan(bearings(scan))) > 0.12
    assert np.isnan(scan.ranges_m[ahead]).all() == is_hidden
    assert np.isfinite(scan.ranges_m[ahead]).all() != is_hidden
    np.testing.assert_allclose(scan.ranges_m[aside], 3 / np.cos(bearings(scan)[aside]), rtol=5e-3)
    # Nothing is lost of a trusted thing in front of what is not.
    near_m = np.where(top, 1.0, trusted_m).astype(np.float32)
    assert np.isfinite(depth_to_scan(near_m, K, pose, BAND, np.where(top, 1.0, suspected_m)).ranges_m[ahead]).all()


def test_a_camera_that_never_looks_into_the_band_knows_nothing():
    pose = pose_over_floor(1.4, -40, "foot")  # up to the ceiling
    scan = depth_to_scan(depth_of_planes(pose, [wall(0, 2.0)]), K, pose, BAND)
    assert np.isnan(scan.ranges_m).all()


@settings(max_examples=60, deadline=None)
@given(
    place=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    yaw_deg=st.floats(-180, 180),
    pitch_deg=st.floats(-5, 25),
    distance_m=st.floats(1.5, 4),
)
def test_from_another_origin_a_wall_keeps_its_place(place, yaw_deg, pitch_deg, distance_m):
    foot = pose_over_floor(0.4, pitch_deg, "base_link")
    pose = CameraPose(rotation_from_rpy(0, 0, yaw_deg) @ foot.rotation, *place, 0.4, "base_link")
    yaw_rad = np.radians(yaw_deg)
    scan = depth_to_scan(depth_of_planes(pose, [FLOOR, wall(yaw_rad, distance_m)]), K, pose, BAND)
    found = np.isfinite(scan.ranges_m)
    assert found.sum() > 80
    half = scan.angle_increment_rad / 2
    cosine = np.cos(bearings(scan)[:, None] + np.array([-half, 0, half]) - yaw_rad)[found]
    assert (scan.ranges_m[found] >= (distance_m / cosine).min(axis=1) * (1 - 1e-4)).all()
    assert (scan.ranges_m[found] <= (distance_m / cosine).max(axis=1) * (1 + 1e-4)).all()
    # No beam within the wall's arc is called free; now and then one falls between two columns and is unknown.
    arc = scan.ranges_m[found.argmax() : found.size - found[::-1].argmax()]
    assert not np.isposinf(arc).any()
    assert np.isfinite(arc).mean() > 0.6


def post_before_floor(pose: CameraPose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth with a post one metre ahead, right of the middle; without it; and what stands in the post's pixels."""
    floor_m = depth_of_planes(pose, [FLOOR])
    post = np.zeros(SIZE, bool)
    post[20:100, 130:134] = True
    return np.where(post, np.float32(1), floor_m), floor_m, post


@pytest.mark.parametrize("place", [(0, 0), (0.3, 0), (0, 0.5), (0.3, -0.25), (-0.4, 0.1)])
def test_a_beam_that_meets_what_is_not_trusted_is_not_free_wherever_the_camera_is(place):
    """The beams that meet it are those of the scan in which it is trusted."""
    pose = CameraPose(pose_over_floor(0.5, 0, "base").rotation, *place, 0.5, "base")
    post_m, _, post = post_before_floor(pose)
    trusted_m = np.where(post, np.float32(np.nan), post_m)
    meets = np.isfinite(depth_to_scan(post_m, K, pose, BAND).ranges_m)
    scan = depth_to_scan(trusted_m, K, pose, BAND, post_m)
    assert meets.sum() >= 3
    assert np.isnan(scan.ranges_m[meets]).all()
    assert np.isposinf(scan.ranges_m).sum() > 60


@pytest.mark.parametrize("x_m", [-0.5, -0.3, 0.0, 0.3])
def test_a_thing_that_is_wider_from_the_frame_than_from_the_camera_has_no_free_beam_within(x_m):
    pose = CameraPose(pose_over_floor(0.5, 0, "base").rotation, x_m, 0.0, 0.5, "base")
    depth_m = depth_of_planes(pose, [FLOOR])
    depth_m[30:100, 100:130] = 1.0
    ranges_m = depth_to_scan(depth_m, K, pose, BAND).ranges_m
    found = np.flatnonzero(np.isfinite(ranges_m))
    assert found.size > 20
    assert not np.isposinf(ranges_m[found[0] : found[-1] + 1]).any()


@pytest.mark.parametrize(("x_m", "distance_m"), [(-0.5, 0.25), (-0.8, 0.55), (-1.2, 1.0)])
def test_a_thing_behind_the_frames_origin_leaves_what_is_ahead_free(x_m, distance_m):
    """There the first beam follows the last one."""
    pose = CameraPose(pose_over_floor(0.5, 0, "base").rotation, x_m, 0.0, 0.5, "base")
    depth_m = depth_of_planes(pose, [FLOOR])
    depth_m[40:80, 76:84] = distance_m
    scan = depth_to_scan(depth_m, K, pose, BAND)
    behind = np.abs(np.abs(bearings(scan)) - np.pi) < 0.1
    assert np.isfinite(scan.ranges_m[behind]).any()
    assert np.isposinf(scan.ranges_m[(np.abs(bearings(scan)) > 0.1) & (np.abs(bearings(scan)) < 0.4)]).all()


def test_one_pixel_beyond_the_range_sets_no_unknown_beam_free():
    pose = pose_over_floor(0.5, 0, "foot")
    floor_m = depth_of_planes(pose, [FLOOR])
    unknown_m = floor_m.copy()
    unknown_m[:, 145:] = np.nan
    with_far_m = unknown_m.copy()
    with_far_m[58, 145:] = 9.9  # beyond 10 m over the floor, this far from the middle
    expected = depth_to_scan(unknown_m, K, pose, BAND, floor_m).ranges_m
    assert np.isnan(expected[:10]).all()
    np.testing.assert_array_equal(depth_to_scan(with_far_m, K, pose, BAND, floor_m).ranges_m, expected)
    # A wall there is as free as one that is not seen at all.
    assert np.isposinf(depth_to_scan(np.where(floor_m == np.inf, 9.9, floor_m), K, pose, BAND).ranges_m[:10]).all()


def test_a_camera_far_ahead_of_the_frame_sees_along_its_beams():
    pose = CameraPose(pose_over_floor(0.5, 0, "rear_axle").rotation, 1.8, 0.0, 0.5, "rear_axle")
    ranges_m = depth_to_scan(depth_of_planes(pose, [FLOOR]), K, pose, BAND).ranges_m
    assert np.isposinf(ranges_m[ranges_m.size // 4 : -ranges_m.size // 4]).all()


def test_from_far_beside_the_frame_nothing_is_called_free():
    pose = CameraPose(pose_over_floor(0.5, 0, "map").rotation, 1.0, 3.0, 0.5, "map")
    post_m, floor_m, _ = post_before_floor(pose)
    assert not np.isposinf(depth_to_scan(floor_m, K, pose, BAND).ranges_m).any()
    assert np.isfinite(depth_to_scan(post_m, K, pose, BAND).ranges_m).any()


def test_the_message_holds_the_beams():
    pose = pose_over_floor(0.3, 5, "foot")
    scan = depth_to_scan(depth_of_planes(pose, [FLOOR, wall(0.1, 3)]), K, pose, BAND)
    msg = scan_message(scan, BAND, Header(frame_id="foot"))
    assert isinstance(msg, LaserScan)
    np.testing.assert_array_equal(np.array(msg.ranges, np.float32), scan.ranges_m)
    assert msg.angle_max == pytest.approx(msg.angle_min + msg.angle_increment * (len(msg.ranges) - 1), abs=1e-5)
    assert (msg.range_min, msg.range_max, msg.header.frame_id) == (0.0, 10.0, "foot")
