"""Known factors come back from all three references, and what cannot be told is refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import Image, LaserScan

from depth_estimation_ros.camera_pose import pose_over_floor
from depth_estimation_ros.demo.frames import NYU_K
from depth_estimation_ros.demo.room import Pose, cast_rays
from depth_estimation_ros.demo.room_layout import build_room
from depth_estimation_ros.reference_messages import depth_from_message, scan_to_points
from depth_estimation_ros.scale_calibration import (
    FrameRatio,
    ScaleError,
    combine,
    frame_from_depth,
    frame_from_floor,
    frame_from_points,
)
from depth_estimation_ros.scale_calibrator import camera_pose_to_transform
from depth_estimation_ros.stamp_pairs import StampPairs

ROOM = build_room()
FACTORS = st.floats(0.5, 2)
K = NYU_K / np.array([[4], [4], [1]])
SIZE = (120, 160)


def view(pose: Pose) -> np.ndarray:
    return cast_rays(ROOM, pose, K, *SIZE).depth_m


LOW = Pose((1.2, 1.2, 0.32), 0.6, np.radians(12))
LOW_DEPTH_M = view(LOW)


def noisy(depth_m: np.ndarray, seed: int) -> np.ndarray:
    """As a network errs: every pixel a little, smooth patches more, a few wildly."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.normal(0, 0.06, (6, 8)), np.ones((20, 20)))
    wild = np.where(rng.random(SIZE) < 0.03, rng.uniform(-1.5, 1.5, SIZE), 0)
    return depth_m * np.exp(rng.normal(0, 0.04, SIZE) + patches + wild)


@settings(max_examples=25, deadline=None)
@given(FACTORS, st.sampled_from([1, 2, 4]))
def test_a_depth_camera_tells_the_factor(factor, finer):
    rng = np.random.default_rng(1)
    frames = []
    for seed in range(6):
        reference_m = np.kron(LOW_DEPTH_M, np.ones((finer, finer)))
        reference_m[rng.random(reference_m.shape) < 0.2] = np.nan  # holes
        frames.append(frame_from_depth(noisy(LOW_DEPTH_M, seed) / factor, reference_m))
    result = combine(frames)
    assert result.factor == pytest.approx(factor, rel=0.03)
    assert (result.frames, result.pixels > 50_000) == (6, True)
    assert 0.02 < result.pixel_spread < 0.15


SCAN_K = np.array([[100.0, 0, 80], [0, 100, 0], [0, 0, 1]])
# The camera stands 0.1 m ahead of the scanner, 0.05 m to its left and 0.12 m above it, and looks 12 degrees down.
CAMERA_IN_SCANNER = [0.1, 0.05, 0.12, 0.0, 12.0, 0.0]


@pytest.fixture(scope="module")
def scan_points() -> np.ndarray:
    c, s = np.cos(LOW.yaw_rad), np.sin(LOW.yaw_rad)
    x, y, z = CAMERA_IN_SCANNER[:3]
    scanner_m = np.array(LOW.position_m) - [c * x - s * y, s * x + c * y, z]
    # One row of pixels, level: what a scanner measures, if not at even angles.
    depth_m = cast_rays(ROOM, Pose(tuple(scanner_m), LOW.yaw_rad, 0.0), SCAN_K, 1, 161).depth_m[0]
    left_m = -depth_m * (np.arange(161) - 80) / 100
    points_scanner = np.stack([depth_m, left_m, np.zeros(161)], axis=-1)
    rotation, place_m = camera_pose_to_transform(CAMERA_IN_SCANNER)
    return points_scanner @ rotation.T + place_m


@settings(max_examples=25, deadline=None)
@given(factor=FACTORS)
def test_a_laser_scan_tells_the_factor(factor, scan_points):
    frames = [frame_from_points(noisy(LOW_DEPTH_M, seed) / factor, K, scan_points) for seed in range(8)]
    assert combine(frames).factor == pytest.approx(factor, rel=0.03)


def test_beams_land_on_what_they_hit(scan_points):
    frame = frame_from_points(LOW_DEPTH_M, K, scan_points)
    assert frame.log_ratio == pytest.approx(0, abs=0.005)
    assert frame.log_spread < 0.02
    assert frame.pixels > 50


@settings(max_examples=25, deadline=None)
@given(FACTORS, st.booleans())
def test_the_floor_tells_the_factor(factor, pitch_is_known):
    up_camera = pose_over_floor(0.32, 12 if pitch_is_known else 0, "").up_camera
    tilt_deg = 5.0 if pitch_is_known else 20.0
    frames = [
        frame_from_floor(
            LOW_DEPTH_M * np.exp(np.random.default_rng(seed).normal(0, 0.02, SIZE)) / factor,
            K,
            up_camera,
            0.32,
            tilt_deg,
        )
        for seed in range(6)
    ]
    assert combine(frames).factor == pytest.approx(factor, rel=0.03)


def test_another_aspect_and_too_little_overlap_are_refused():
    with pytest.raises(ScaleError, match="registered"):
        frame_from_depth(np.ones((120, 160)), np.ones((120, 240)))
    reference_m = np.full(SIZE, np.nan)
    reference_m[:8] = 2
    with pytest.raises(ScaleError, match=r"only 7% .* 10% are needed: look at"):
        frame_from_depth(np.ones(SIZE), reference_m)
    with pytest.raises(ScaleError, match=r"only 0 of 3 beams.*--pose"):
        frame_from_points(np.ones(SIZE), K, np.array([[0, 0, -1.0], [50, 0, 1], [0, 0, 0]]))
    with pytest.raises(ScaleError, match="--camera-pitch"):
        frame_from_floor(np.full(SIZE, 2.0), K, pose_over_floor(0.3, 0, "").up_camera, 0.3, 20.0)


def test_what_does_not_look_at_the_same_thing_is_refused():
    rng = np.random.default_rng(0)
    unlike = [frame_from_depth(rng.uniform(0.5, 8, SIZE), rng.uniform(0.5, 8, SIZE)) for _ in range(6)]
    with pytest.raises(ScaleError, match=r"within a frame.*registration"):
        combine(unlike)
    with pytest.raises(ScaleError, match=r"from frame to frame.*hold the robot still"):
        combine([FrameRatio(log_ratio, 0.1, 900) for log_ratio in np.linspace(-0.5, 0.5, 9)])
    with pytest.raises(ScaleError, match=r"only 4 frames.*--timeout"):
        combine([FrameRatio(0.0, 0.1, 900)] * 4)


def test_a_few_bad_frames_are_outvoted():
    frames = [FrameRatio(np.log(1.13), 0.05, 900)] * 9 + [FrameRatio(2.0, 0.05, 900)] * 3
    assert combine(frames).factor == pytest.approx(1.13)


@pytest.mark.parametrize(
    ("encoding", "big_endian", "padding"), [("32FC1", 0, 0), ("32FC1", 1, 8), ("16UC1", 0, 6), ("16UC1", 1, 0)]
)
def test_depth_images_are_read_in_every_form(encoding, big_endian, padding):
    depth_m = np.array([[1.5, 0.0, 2.25], [np.nan, 3.0, 0.004]], np.float32)
    stored = np.nan_to_num(depth_m * 1000).astype("u2") if encoding == "16UC1" else depth_m
    stored = stored.astype(stored.dtype.newbyteorder(">" if big_endian else "<"))
    rows = [row.tobytes() + b"\x07" * padding for row in stored]
    msg = Image(height=2, width=3, encoding=encoding, is_bigendian=big_endian, step=len(rows[0]))
    msg.data.frombytes(b"".join(rows))
    expected = np.where(depth_m == 0, np.nan, depth_m) if encoding == "16UC1" else depth_m
    np.testing.assert_allclose(depth_from_message(msg), expected, rtol=1e-6)


def test_what_is_no_depth_image_is_refused():
    with pytest.raises(ValueError, match="'rgb8'"):
        depth_from_message(Image(height=2, width=3, encoding="rgb8", step=9))
    with pytest.raises(ValueError, match="step 2"):
        depth_from_message(Image(height=2, width=3, encoding="32FC1", step=2))


def test_only_measured_beams_become_points():
    msg = LaserScan(angle_min=0.0, angle_increment=float(np.pi / 2), range_min=0.5, range_max=5.0)
    msg.ranges = [2.0, 3.0, 0.4, float("inf"), float("nan"), 6.0]
    np.testing.assert_allclose(scan_to_points(msg), [[2, 0, 0], [0, 3, 0]], atol=1e-6)


def test_the_nearest_stamp_within_the_tolerance_is_the_partner():
    pairs: StampPairs[str, str] = StampPairs(tolerance_ns=50)
    assert pairs.put_second(100, "early") == []
    assert pairs.put_first(140, "depth") == []  # a nearer one may still come
    assert pairs.put_second(150, "near") == [("depth", "near")]
    assert pairs.put_first(400, "alone") == []
    assert pairs.put_second(500, "too late") == []
    assert pairs.put_first(500, "same") == [("same", "too late")]
    assert pairs.seen == [3, 3]


@pytest.mark.parametrize(("rate_hz", "late_s"), [(60, 0.6), (30, 1.1), (30, 2.5)])
def test_depth_that_comes_long_after_its_reference_has_its_partner(rate_hz, late_s):
    pairs: StampPairs[int, int] = StampPairs(tolerance_ns=20_000_000)
    found = []
    for number in range(20 * rate_hz):
        now_ns = int(number / rate_hz * 1e9)
        found += pairs.put_second(now_ns, now_ns)
        depth_ns = now_ns - int(late_s * 1e9)
        if number % 15 == 0 and depth_ns > 0:
            found += pairs.put_first(depth_ns, depth_ns)
    assert len(found) >= 20 * rate_hz / 15 - late_s * rate_hz / 15 - 2
    assert pairs.put_second(5, 5) == []  # the recording begins anew
    assert pairs.put_first(5, 5) == [(5, 5)]


@settings(max_examples=100)
@given(st.lists(st.integers(0, 1000), max_size=20), st.lists(st.integers(0, 1000), max_size=20), st.randoms())
def test_pairs_are_within_the_tolerance_whatever_the_order(firsts, seconds, random):
    events = [(stamp, 0) for stamp in firsts] + [(stamp, 1) for stamp in seconds]
    random.shuffle(events)
    pairs: StampPairs[int, int] = StampPairs(tolerance_ns=20)
    found = [pair for stamp, kind in events for pair in (pairs.put_second if kind else pairs.put_first)(stamp, stamp)]
    assert all(abs(first - second) <= 20 for first, second in found)
    assert len(found) <= len(firsts)
