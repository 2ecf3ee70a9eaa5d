"""The demo's sources: what each yields, and the one sentence for each that yields nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.demo import run, session, sources
from depth_estimation_ros.demo.frames import NYU_K, GivenIntrinsics
from depth_estimation_ros.demo.sources import SourceError, evenly_spaced, open_source

NOTHING_GIVEN = GivenIntrinsics()


def write_image(path: Path, colour_rgb: tuple[int, int, int], size: tuple[int, int] = (24, 32)) -> None:
    image = np.empty((*size, 3), np.uint8)
    image[:] = colour_rgb[::-1]
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(7):
        write_image(tmp_path / f"{number}.png", (30 * number, 200, 10))
    return tmp_path


@given(st.integers(1, 500), st.integers(1, 500))
def test_evenly_spaced_covers_the_whole_in_order(count: int, limit: int) -> None:
    indices = evenly_spaced(count, limit)
    assert len(indices) == min(count, limit)
    assert indices == sorted(set(indices))
    assert indices[0] == 0
    assert indices[-1] == (count - 1 if limit > 1 else 0)
    if len(indices) > 2:
        steps = np.diff(indices)
        assert steps.max() - steps.min() <= 1


def test_a_folder_gives_each_image_once_in_order_as_rgb(folder: Path) -> None:
    write_image(folder / "0_depth.png", (1, 2, 3))
    (folder / "notes.txt").write_text("no image")
    frames = list(open_source(str(folder), 60, NOTHING_GIVEN).read())
    assert [frame.name for frame in frames] == [str(number) for number in range(7)]
    assert [tuple(frame.image_rgb[0, 0]) for frame in frames] == [(30 * n, 200, 10) for n in range(7)]
    assert all(frame.k is None and frame.truth_m is None for frame in frames)


def test_more_images_than_frames_are_thinned_evenly(folder: Path) -> None:
    source = open_source(str(folder), 3, NOTHING_GIVEN)
    assert source.frame_count == 3
    assert [frame.name for frame in source.read()] == ["0", "3", "6"]


def test_a_pair_brings_its_truth_in_metres_and_the_kinects_intrinsics(tmp_path: Path) -> None:
    write_image(tmp_path / "a_rgb.jpg", (90, 90, 90), (480, 640))
    depth_mm = np.full((480, 640), 2500, np.uint16)
    depth_mm[0, 0] = 0
    cv2.imwrite(str(tmp_path / "a_depth.png"), depth_mm)
    (frame,) = open_source(str(tmp_path), 60, NOTHING_GIVEN).read()
    assert frame.truth_m is not None
    assert frame.truth_m.dtype == np.float32
    assert np.isnan(frame.truth_m[0, 0])
    assert (frame.truth_m.ravel()[1:] == np.float32(2.5)).all()
    assert frame.k == pytest.approx(NYU_K)
    (told,) = open_source(str(tmp_path), 60, GivenIntrinsics(fx=600.0)).read()
    assert told.k is not None
    assert told.k[0, 0] == told.k[1, 1] == 600.0


def test_a_pair_of_another_size_is_not_taken_for_the_kinect(tmp_path: Path) -> None:
    write_image(tmp_path / "a_rgb.png", (90, 90, 90))
    cv2.imwrite(str(tmp_path / "a_depth.png"), np.full((24, 32), 2500, np.uint16))
    (frame,) = open_source(str(tmp_path), 60, NOTHING_GIVEN).read()
    assert frame.k is None
    assert frame.truth_m is not None


@pytest.mark.parametrize("depth", [np.full((24, 32), 9, np.uint8), np.full((20, 32), 900, np.uint16)])
def test_a_truth_of_another_type_or_size_is_refused(tmp_path: Path, depth: np.ndarray) -> None:
    write_image(tmp_path / "a_rgb.png", (90, 90, 90))
    cv2.imwrite(str(tmp_path / "a_depth.png"), depth)
    with pytest.raises(SourceError, match="16-bit millimetres of shape"):
        list(open_source(str(tmp_path), 60, NOTHING_GIVEN).read())


def test_one_image_is_a_source(folder: Path) -> None:
    (frame,) = open_source(str(folder / "2.png"), 60, NOTHING_GIVEN).read()
    assert tuple(frame.image_rgb[5, 5]) == (60, 200, 10)


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once in a process, by the first writer or reader
    path = tmp_path / "grey.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for level in range(0, 200, 10):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


def test_a_video_gives_frames_from_first_to_last(video: Path) -> None:
    source = open_source(str(video), 5, GivenIntrinsics(hfov_deg=90.0))
    frames = list(source.read())
    assert len(frames) == source.frame_count == 5
    levels = [float(frame.image_rgb.mean()) for frame in frames]
    assert levels == pytest.approx([0, 50, 100, 140, 190], abs=3)
    assert frames[0].k is not None
    assert frames[0].k[0] == pytest.approx([32.0, 0.0, 31.5])


@given(st.floats(5, 175), st.integers(10, 2000), st.integers(10, 2000))
def test_a_field_of_view_reaches_from_edge_to_edge(hfov_deg: float, height: int, width: int) -> None:
    k = GivenIntrinsics(hfov_deg=hfov_deg).matrix(height, width)
    assert k is not None
    left, right = ((edge - k[0, 2]) / k[0, 0] for edge in (-0.5, width - 0.5))
    assert np.degrees(np.arctan(right) - np.arctan(left)) == pytest.approx(hfov_deg)


class FakeWebcam:
    """Stands for a device that gives two frames and is then pulled out."""

    def __init__(self, device: int) -> None:
        self.frames = [np.full((4, 6, 3), (255, 0, 0), np.uint8)] * 2 if device == 3 else []

    def isOpened(self) -> bool:
        return bool(self.frames)

    def set(self, name: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.frames.pop()) if self.frames else (False, None)

    def release(self) -> None:
        pass


def test_a_webcam_is_read_live_until_it_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.cv2, "VideoCapture", FakeWebcam)
    source = open_source("3", 60, NOTHING_GIVEN)
    assert (source.webcam, source.frame_count) == (3, 60)
    frames = source.read()
    assert tuple(next(frames).image_rgb[0, 0]) == (0, 0, 255)
    next(frames)
    with pytest.raises(SourceError, match="Webcam 3 sends no more images"):
        next(frames)


def test_the_room_is_rendered_from_one_end_of_the_walk_to_the_other() -> None:
    frames = list(open_source("room", 2, NOTHING_GIVEN).read())
    assert [frame.image_rgb.shape for frame in frames] == [(480, 640, 3)] * 2
    assert frames[0].k == pytest.approx(NYU_K)
    assert frames[0].truth_m is not None
    assert frames[1].truth_m is not None
    assert np.abs(frames[0].truth_m - frames[1].truth_m).mean() > 0.3


def unreadable(tmp_path: Path, what: str) -> str:
    if what == "empty folder":
        (tmp_path / "a_depth.png").write_bytes(b"")
        return str(tmp_path)
    if what == "broken image":
        write_image(tmp_path / "a.png", (1, 2, 3))
        (tmp_path / "b.png").write_bytes(b"not a picture")
        return str(tmp_path)
    if what == "broken video":
        (tmp_path / "film.mp4").write_bytes(bytes(3000))
        return str(tmp_path / "film.mp4")
    return {"missing path": str(tmp_path / "nowhere"), "absent webcam": "97"}[what]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("empty folder", "holds no .jpg or .png image: name a folder"),
        ("broken image", "b.png' cannot be decoded: remove it"),
        ("broken video", "cannot be opened: check that it is a video"),
        ("missing path", "is neither a file nor a folder: give 'room'"),
        ("absent webcam", "Webcam 97 cannot be opened: look for its number"),
    ],
)
def test_a_source_without_images_ends_the_demo_before_any_process_starts(
    tmp_path: Path, what: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "Child", lambda *_: pytest.fail("a process was started"))
    monkeypatch.setattr("depth_estimation_ros.inference.model_file.resolve_model", lambda model: Path(model))
    output = tmp_path / "output"
    assert run.main(["--source", unreadable(tmp_path, what), "--output", str(output)]) == 2
    error = capfd.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
    assert not list(output.glob(".recording-*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--frames", "0"],
        ["--frames", "2.5"],
        ["--rate", "-1"],
        ["--rate", "nan"],
        ["--fy", "500"],
        ["--fx", "500", "--hfov-deg", "60"],
        ["--hfov-deg", "180"],
    ],
)
def test_a_wrong_option_is_one_sentence_and_status_2(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(["--output", str(tmp_path / "out"), *arguments])
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_room_takes_no_intrinsics() -> None:
    with pytest.raises(SourceError, match="knows its camera"):
        open_source("room", 2, GivenIntrinsics(fx=500.0))


def test_an_unwritable_output_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    write_image(tmp_path / "a.png", (1, 2, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("depth_estimation_ros.inference.model_file.resolve_model", lambda model: Path(model))
        status = run.main(["--source", str(tmp_path / "a.png"), "--output", str(tmp_path / "taken")])
    assert status == 1
    error = capfd.readouterr().err
    assert "another --output" in error
    assert len(error.strip().splitlines()) == 1


def test_a_full_disk_is_foretold_before_any_process_starts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "Child", lambda *_: pytest.fail("a process was started"))
    monkeypatch.setattr("depth_estimation_ros.inference.model_file.resolve_model", lambda model: Path(model))
    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000))
    assert run.main(["--source", str(folder), "--output", str(tmp_path / "out")]) == 1
    assert "needs about 7 MB" in capfd.readouterr().err
