"""The built-in room: its depth against closed forms and a second ray caster, its pictures against themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_estimation_ros.demo.frames import NYU_K, pinhole
from depth_estimation_ros.demo.room import Pose, Room, camera_path, cast_rays
from depth_estimation_ros.demo.room_layout import FACES, ROOM_SIZE_M, Box, build_room

K = pinhole(100.0, 101.0, 39.5, 30.0)
HEIGHT, WIDTH = 60, 80
FLOOR, CEILING = FACES.index("-z"), FACES.index("+z")


@pytest.fixture(scope="module")
def room() -> Room:
    return Room()


def world_rays(pose: Pose, k: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, 3), written out anew: optical z forward, x right, y down, from yaw and pitch by elementary turns."""
    cy, sy, cp, sp = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad), np.cos(pose.pitch_rad), np.sin(pose.pitch_rad)
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    nose_down = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    body_from_optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    v, u = np.mgrid[:height, :width]
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).astype(float)
    return pixels @ np.linalg.inv(k).T @ (about_z @ nose_down @ body_from_optical).T


def slab_depth(boxes: list[Box], pose: Pose, rays: np.ndarray) -> np.ndarray:
    """Depth by the slab test, box by box, in the world frame for boxes turned by their corners' own axes."""
    nearest = np.full(rays.shape[:2], np.inf)
    for box in boxes:
        angle = box.yaw_rad
        axes = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        origin = axes @ (np.array(pose.position_m) - box.centre_m)
        direction = rays @ axes.T
        direction = np.where(direction == 0, 1e-300, direction)
        half = np.array(box.size_m) / 2
        with np.errstate(over="ignore"):
            crossings = np.sort(np.stack([(-half - origin) / direction, (half - origin) / direction]), axis=0)
        enter, leave = crossings[0].max(axis=-1), crossings[1].min(axis=-1)
        depth = leave if box.inward else enter
        nearest = np.where((enter <= leave) & (depth > 0) & (depth < nearest), depth, nearest)
    return nearest


def test_a_wall_seen_squarely_has_one_depth() -> None:
    pose = Pose((1.0, 2.2, 1.3), 0.0, 0.0)
    depth_m = cast_rays(build_room()[:1], pose, pinhole(400.0, 400.0, 39.5, 29.5), HEIGHT, WIDTH).depth_m
    assert depth_m == pytest.approx(np.full((HEIGHT, WIDTH), ROOM_SIZE_M[0] - 1.0), abs=1e-12)


@given(st.floats(0.5, 5.0), st.floats(0.5, 4.0), st.floats(0.3, 2.3), st.floats(-3.1, 3.1), st.floats(-0.6, 0.8))
@settings(deadline=None, max_examples=40)
def test_floor_and_ceiling_lie_on_their_planes(x: float, y: float, z: float, yaw: float, pitch: float) -> None:
    pose = Pose((x, y, z), yaw, pitch)
    hits = cast_rays(build_room()[:1], pose, K, HEIGHT, WIDTH)
    rise = world_rays(pose, K, HEIGHT, WIDTH)[..., 2]
    for face, plane_z in ((FLOOR, 0.0), (CEILING, ROOM_SIZE_M[2])):
        seen = hits.face == face
        assert hits.depth_m[seen] == pytest.approx((plane_z - z) / rise[seen], rel=1e-9)
    assert np.isfinite(hits.depth_m).all()


@pytest.mark.parametrize("yaw", [0.0, 0.5, -1.2])
def test_a_box_shows_its_front_face_at_its_distance_and_ends_at_its_edges(yaw: float) -> None:
    # The box turns with the camera, so that its front is square to the view wherever that looks.
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    box = Box(tuple(3.0 * ahead + [0.0, 0.0, 1.0]), (0.8, 0.6, 0.4), "wood", yaw_rad=yaw)
    depth_m = cast_rays([box], Pose((0.0, 0.0, 1.0), yaw, 0.0), K, HEIGHT, WIDTH).depth_m
    front_m = 3.0 - 0.4
    u, v = np.arange(WIDTH), np.arange(HEIGHT)
    covered = np.outer(
        np.abs((v - K[1, 2]) / K[1, 1]) <= 0.2 / front_m, np.abs((u - K[0, 2]) / K[0, 0]) <= 0.3 / front_m
    )
    assert covered.sum() > 200
    assert np.array_equal(np.isfinite(depth_m), covered)
    assert depth_m[covered] == pytest.approx(front_m, abs=1e-12)


@given(st.floats(0.0, 1.0), st.floats(-3.1, 3.1), st.floats(-0.5, 0.7))
@settings(deadline=None, max_examples=15)
def test_the_furnished_room_agrees_with_a_second_ray_caster(fraction: float, yaw: float, pitch: float) -> None:
    pose = Pose(camera_path(fraction).position_m, yaw, pitch)
    boxes = build_room()
    hits = cast_rays(boxes, pose, K, HEIGHT, WIDTH)
    expected = slab_depth(boxes, pose, world_rays(pose, K, HEIGHT, WIDTH))
    agree = np.isclose(hits.depth_m, expected, rtol=1e-9)
    # A ray exactly along an edge may go either way; nothing else may differ.
    assert agree.mean() > 0.9995
    assert (hits.face >= 0).all()


def test_points_of_one_view_are_met_again_from_another_pose(room: Room) -> None:
    here, there = camera_path(0.30), camera_path(0.36)
    image, depth_m = room.render(here)
    other_image, _ = room.render(there)
    v, u = (grid.ravel() for grid in np.mgrid[8:480:24, 8:640:24])
    points = np.array(here.position_m) + depth_m[v, u, None] * world_rays(here, NYU_K, 480, 640)[v, u]
    camera = (points - there.position_m) @ there.rotation()
    x, y, z = camera.T
    seen_depth = np.array(
        [
            cast_rays(room.boxes, there, pinhole(1.0, 1.0, -px / pz, -py / pz), 1, 1).depth_m[0, 0]
            if pz > 0.1
            else np.nan
            for px, py, pz in camera
        ]
    )
    ahead = z > 0.1
    assert (seen_depth[ahead] <= z[ahead] + 1e-4).all()
    again = ahead & (np.abs(seen_depth - z) < 1e-4)
    assert again.mean() > 0.7

    columns = np.rint(NYU_K[0, 0] * x / z + NYU_K[0, 2]).astype(int)
    rows = np.rint(NYU_K[1, 1] * y / z + NYU_K[1, 2]).astype(int)
    shown = again & (columns >= 0) & (columns < 640) & (rows >= 0) & (rows < 480)
    difference = np.abs(image[v, u].astype(int)[shown] - other_image[rows[shown], columns[shown]].astype(int))
    shuffled = np.abs(image[v, u].astype(int)[shown] - other_image[rows[shown], columns[shown]].astype(int)[::-1])
    assert np.median(difference) <= 6
    assert np.median(shuffled) > 4 * np.median(difference)


def test_the_camera_walks_smoothly_at_head_height_and_clear_of_everything() -> None:
    poses = [camera_path(fraction) for fraction in np.linspace(0.0, 1.0, 60)]
    positions = np.array([pose.position_m for pose in poses])
    assert positions[:, 2].min() >= 1.2
    assert positions[:, 2].max() <= 1.6
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() < 0.15
    assert np.abs(np.diff([pose.yaw_rad for pose in poses])).max() < np.radians(6)
    for box in build_room():
        turn = np.array([[np.cos(box.yaw_rad), np.sin(box.yaw_rad)], [-np.sin(box.yaw_rad), np.cos(box.yaw_rad)]])
        local = positions - box.centre_m
        local[:, :2] = local[:, :2] @ turn.T
        beyond = np.abs(local) - np.array(box.size_m) / 2
        clearance = -beyond.max(axis=1) if box.inward else np.linalg.norm(np.maximum(beyond, 0), axis=1)
        assert clearance.min() > 0.3, box


def test_every_picture_is_whole_and_reads_like_a_photograph(room: Room) -> None:
    for fraction in (0.0, 0.5, 1.0):
        image, depth_m = room.render(camera_path(fraction))
        assert image.shape == (480, 640, 3)
        assert image.dtype == np.uint8
        assert depth_m.dtype == np.float32
        assert depth_m.min() > 0.5
        assert depth_m.max() < np.linalg.norm(ROOM_SIZE_M)
        assert 60 < image.mean() < 190
        assert image.std() > 30
        assert (image.max(axis=-1) == 255).mean() < 0.1
        assert ((image < 2).all(axis=-1)).mean() < 0.05


def test_corners_are_darker_than_the_middle_of_a_wall(room: Room) -> None:
    # The same paint on one wall, so that only the light differs.
    pose = Pose((3.3, 0.9, 1.3), np.pi / 2, 0.0)
    image, _ = room.render(pose)
    hits = cast_rays(room.boxes, pose, NYU_K, 480, 640)
    wall = hits.face == FACES.index("+y")
    near_the_ceiling = wall & (hits.down_m < 0.15)
    open_wall = wall & (hits.down_m > 0.8) & (hits.down_m < 1.2)
    assert near_the_ceiling.sum() > 500
    assert image[near_the_ceiling].mean() < image[open_wall].mean() - 5


def test_noise_follows_the_seed_and_nothing_else_changes(room: Room) -> None:
    pose = camera_path(0.5)
    one, depth_one = room.render(pose, seed=1)
    same, _ = room.render(pose, seed=1)
    other, depth_other = room.render(pose, seed=2)
    assert np.array_equal(one, same)
    assert np.array_equal(depth_one, depth_other)
    spread = (one.astype(float) - other.astype(float)).std()
    assert 1.0 < spread < 5.0


def test_another_camera_sees_the_same_room(room: Room) -> None:
    pose = camera_path(0.4)
    image, depth_m = room.render(pose, K, (HEIGHT, WIDTH))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert depth_m == pytest.approx(slab_depth(room.boxes, pose, world_rays(pose, K, HEIGHT, WIDTH)), rel=1e-5)
