"""The demo's cloud file, pictures and numbers: read back, and held against closed forms."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.demo.frames import SourceFrame
from depth_estimation_ros.demo.pictures import save_cloud_picture, save_depth_picture, view_points
from depth_estimation_ros.demo.recording import Recording, SentImage
from depth_estimation_ros.demo.summary import relative_error, remarks, summarise, truth_at
from depth_estimation_ros.ply import save_ply


@pytest.fixture
def cloud() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    points_m = rng.uniform(-2, 2, (6, 8, 3)).astype(np.float32)
    points_m[..., 2] += 4
    points_m[2, 3] = np.nan
    points_m[0, 0] = np.nan
    return points_m, rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)


def test_a_ply_reads_back_point_by_point(tmp_path: Path, cloud: tuple[np.ndarray, np.ndarray]) -> None:
    points_m, rgb = cloud
    assert save_ply(tmp_path / "points.ply", points_m, rgb) == 46
    header, body = (tmp_path / "points.ply").read_bytes().split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "element vertex 46" in lines
    names = [line.split()[-1] for line in lines if line.startswith("property")]
    assert names == ["x", "y", "z", "red", "green", "blue"]
    vertices = list(struct.iter_unpack("<fffBBB", body))
    known = [(row, column) for row in range(6) for column in range(8) if (row, column) not in ((0, 0), (2, 3))]
    expected = [(*map(float, points_m[place]), *map(int, rgb[place])) for place in known]
    assert vertices == expected


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.5, 9)), min_size=3, max_size=30),
    st.floats(-1.5, 1.5),
    st.floats(-1.0, 1.0),
)
def test_another_viewpoint_moves_the_cloud_rigidly(points: list, turn_rad: float, pitch_rad: float) -> None:
    before = np.array(points)
    after = view_points(before, 1.0, turn_rad, pitch_rad)
    pivot = np.median(before, axis=0)
    assert np.linalg.norm(after[:, None] - after, axis=-1) == pytest.approx(
        np.linalg.norm(before[:, None] - before, axis=-1), abs=1e-9
    )
    from_pivot = after - [0.0, 0.0, pivot[2] + 1.0]
    assert np.linalg.norm(from_pivot, axis=1) == pytest.approx(np.linalg.norm(before - pivot, axis=1), abs=1e-9)


def test_from_the_right_and_above_what_lies_behind_shows_to_the_right_and_higher() -> None:
    points = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 4.0]])
    _, _, behind = view_points(points, 1.0, turn_rad=0.4, pitch_rad=0.3)
    assert behind[0] > 0.1
    assert behind[1] < -0.1


def test_the_cloud_picture_shows_its_colours_where_the_points_are(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-0.7, 0.7, 30))
    points_m = np.stack([x, y, np.full_like(x, 3.0)], axis=-1).astype(np.float32)
    points_m[:3] = np.nan
    rgb = np.zeros((30, 40, 3), np.uint8)
    rgb[:, :20] = (255, 0, 0)
    rgb[:, 20:] = (0, 0, 255)
    save_cloud_picture(tmp_path / "view.png", points_m, rgb, "two halves")
    picture = cv2.imread(str(tmp_path / "view.png"))[..., ::-1].astype(int)
    red = (picture[..., 0] > 200) & (picture[..., 1:].max(axis=-1) < 60)
    blue = (picture[..., 2] > 200) & (picture[..., :2].max(axis=-1) < 60)
    assert red.sum() > 10_000
    assert blue.sum() > 10_000
    assert np.nonzero(red)[1].max() <= np.nonzero(blue)[1].min() + 30


@pytest.mark.parametrize("with_truth", [True, False])
def test_the_depth_picture_shows_near_and_far_in_turbo(tmp_path: Path, with_truth: bool) -> None:
    depth_m = np.full((60, 80), 1.0, np.float32)
    depth_m[:, 40:] = 4.0
    depth_m[:6] = np.inf
    image = np.full((120, 160, 3), (255, 0, 255), np.uint8)
    truth_m = np.repeat(np.repeat(np.where(np.isfinite(depth_m), depth_m, 2.0), 2, 0), 2, 1) if with_truth else None
    save_depth_picture(tmp_path / "depth.png", image, depth_m, truth_m, "a step")
    picture = cv2.imread(str(tmp_path / "depth.png"))[..., ::-1].astype(int)
    upper = picture[: picture.shape[0] // 2] if with_truth else picture
    ends = [np.array([0.18995, 0.07176, 0.23217]) * 255, np.array([0.4796, 0.01583, 0.01055]) * 255]
    near, far = ((np.abs(upper - end).max(axis=-1) < 6) for end in ends)
    assert near.sum() > 10_000
    assert far.sum() > 10_000
    assert np.median(np.nonzero(near)[1]) < np.median(np.nonzero(far)[1])
    assert (np.abs(upper - [255, 0, 255]).max(axis=-1) < 6).sum() > 20_000
    assert (np.abs(upper - 153).max(axis=-1) < 6).sum() > 2_000


def test_truth_is_taken_at_the_pixels_centre_and_never_blended() -> None:
    truth_m = np.arange(12 * 16, dtype=np.float32).reshape(12, 16)
    truth_m[5, 5] = np.nan
    there = truth_at(truth_m, (4, 4))
    # 3 rows and 4 columns become one pixel: its centre is row 1 of 3, between columns 1 and 2 of 4.
    for row in range(4):
        for column in range(4):
            middle = truth_m[3 * row + 1, 4 * column + 1 : 4 * column + 3]
            assert there[row, column] in middle


def test_relative_error_is_that_of_the_definition() -> None:
    truth_m = np.array([[2.0, 4.0], [np.nan, 1.0]], np.float32)
    depth_m = np.array([[2.5, 3.0], [1.0, np.inf]], np.float32)
    error = relative_error(depth_m, truth_m)
    assert error[0] == pytest.approx([0.25, 0.25])
    assert np.isnan(error[1]).all()


def test_the_summary_counts_what_was_recorded(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    image = np.zeros((4, 6, 3), np.uint8)
    for index, truth in enumerate((2.0, 2.0, None, 4.0)):
        truth_m = None if truth is None else np.full((4, 6), truth, np.float32)
        recording.write_frame(index, SourceFrame(f"frame {index}", image, truth_m=truth_m))
        recording.write_sent(SentImage(index, 1_000_000_000 * (index + 1), "camera"))
    for index, (depth, late_ms) in enumerate(((2.2, 30), (2.4, 50), (9.0, 40))):
        stamp = 1_000_000_000 * (index + 1)
        recording.write_depth(stamp, stamp + late_ms * 1_000_000, np.full((2, 3), depth, np.float32))
    (tmp_path / "sent.jsonl").open("a").write('{"index": 4, "sta')  # as a reader may find it
    diagnostics = {
        "received": "4",
        "published": "3",
        "dropped (newer frame came)": "1",
        "rejected": "0",
        "stamp to publish p50 (ms)": "38.0",
        "stamp to publish p99 (ms)": "unknown",
    }
    counts = {"depth/image_rect": 3, "depth/camera_info": 3, "depth/points": 2}
    summary = summarise(recording, {"diagnostics": diagnostics, "counts": counts})
    assert (summary.frames_sent, summary.depth_images, summary.clouds) == (4, 3, 2)
    assert (summary.received_by_node, summary.dropped_by_node, summary.rejected_by_node) == (4, 1, 0)
    assert summary.publish_latency_ms is None
    assert summary.arrival_latency_ms == pytest.approx((40.0, 49.8))
    assert summary.depth_range_m == pytest.approx((2.2, 2.4, 9.0))
    assert summary.frames_with_truth == 2
    assert summary.median_relative_error == pytest.approx(0.15, abs=1e-6)
    assert summary.rate_hz == pytest.approx(2 / 2.010)
    said = " ".join(remarks(summary, source_is_room=True))
    assert "dropped 1 of 4 frames" in said
    assert "never seen this synthetic room" in said
    assert "did not reach" not in said
