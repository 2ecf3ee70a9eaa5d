"""From a source to a folder to train on: what is written, what is refused, and that nothing is left half done."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from typer.testing import CliRunner

from depth_training.cli import app
from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import PairsError, read_pair, read_pairs
from depth_training.data.prepare import ASSUMED_M, prepare
from depth_training.data.sources.sample import Frame, Sample
from depth_training.data.splits import consecutive_blocks

SIZE = (12, 16)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def sample(number: int, depth_m=2.5, scene="hall", **fields) -> Sample:
    depth = np.full(SIZE, depth_m, np.float32)
    return Sample(f"frame {number}", number, scene, lambda: Frame(picture(number), depth, **fields))


def unreadable(number: int, scene="hall") -> Sample:
    def read():
        raise PairsError(f"{number} is broken")

    return Sample(f"frame {number}", number, scene, read)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_back_as_it_was(tmp_path):
    depth_m = np.linspace(0.4, 9.9, 192, dtype=np.float32).reshape(SIZE)
    depth_m[0, 0], depth_m[0, 1] = 0, 70  # unknown, and beyond what 16 bits hold
    camera = Intrinsics(500, 501, 7.25, 6)
    result = prepare([sample(7, depth_m, intrinsics=camera), sample(8)], tmp_path / "out", lossless=True)
    assert (result.written, result.without_intrinsics) == (2, 1)
    first, second = read_pairs(result.pairs)
    image_rgb, read_m = read_pair(first)
    assert np.array_equal(image_rgb, picture(7))
    assert read_m[0, :2].tolist() == [0, 0]
    assert np.abs(read_m - depth_m)[depth_m < 60].max() <= 0.0005 + 1e-6
    assert (first.index, first.scene, first.intrinsics) == (7, "hall", camera)
    assert second.intrinsics is None
    assert left_in(tmp_path) == ["out"]


def test_an_image_file_is_copied_byte_by_byte(tmp_path):
    data = cv2.imencode(".jpg", picture(0))[1].tobytes()
    result = prepare([sample(0, encoded=(".jpg", data))], tmp_path / "out", Intrinsics(400, 400))
    (pair,) = read_pairs(result.pairs)
    assert pair.image.read_bytes() == data
    assert pair.intrinsics == Intrinsics(400, 400, 7.5, 5.5)


def test_unreadable_pairs_are_left_out_and_listed(tmp_path):
    mismatched = Sample("small", 3, "", lambda: Frame(picture(0), np.ones((3, 4), np.float32)))
    result = prepare([sample(0), unreadable(1), mismatched, sample(4, 0.0), sample(5)], tmp_path / "out")
    assert [pair.index for pair in read_pairs(result.pairs)] == [0, 5]
    listed = pd.read_csv(tmp_path / "out" / "unreadable.csv")
    assert listed["pair"].tolist() == ["frame 1", "small", "frame 4"]
    assert "16x12 but its depth 4x3" in listed["reason"][1]


@pytest.mark.parametrize("scene", ["", "hall"])
def test_a_pair_that_is_left_out_makes_no_two_rooms_of_one(tmp_path, scene):
    one_room = [sample(0, scene=scene), sample(1, scene=scene), unreadable(2, scene), sample(3, scene=scene)]
    another_later = [] if scene else [sample(9)]
    result = prepare([*one_room, *another_later], tmp_path / "out")
    blocks = consecutive_blocks(read_pairs(result.pairs))
    assert sorted(map(len, blocks)) == ([3] if scene else [1, 3])


def test_whatever_order_pairs_come_in_one_that_is_left_out_makes_no_two_rooms_of_one(tmp_path):
    in_disorder = [sample(index, scene="") for index in (11, 50, 10, 52, 3)]
    result = prepare([unreadable(99, ""), *in_disorder[:3], unreadable(51, ""), *in_disorder[3:]], tmp_path / "out")
    blocks = consecutive_blocks(read_pairs(result.pairs))
    assert [[pair.index for pair in block] for block in blocks] == [[3], [10, 11], [50, 51]]


@pytest.mark.parametrize(
    ("depth_m", "reason"),
    [
        (2750.0, "median depth 2750 m .*millimetres read as metres"),
        (275.0, "centimetres read as metres"),
        (0.00275, "metres read as millimetres"),
        (0.0275, "metres read as centimetres"),
    ],
)
@pytest.mark.parametrize("count", [1, 9])
def test_depth_in_the_wrong_unit_is_refused_by_name(tmp_path, depth_m, reason, count):
    read = []

    def samples():
        for number in range(count):
            read.append(number)
            yield sample(number, depth_m)

    with pytest.raises(PairsError, match=reason):
        prepare(samples(), tmp_path / "out")
    assert len(read) == min(count, 5)  # judged as soon as it can be
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("depth_m", "reason"),
    [(10.0, r"10 m .*outside 0.7 to 6 m: 5000 steps a metre \(tum\)"), (0.35, "centimetres read as millimetres")],
)
def test_a_unit_that_nobody_stated_has_to_fit_a_room(tmp_path, depth_m, reason):
    samples = [sample(number, depth_m) for number in range(3)]
    with pytest.raises(PairsError, match=reason):
        prepare(samples, tmp_path / "out", medians_within_m=ASSUMED_M)
    assert prepare(samples, tmp_path / "out").written == 3  # a hall, or a table from close by


def test_a_single_close_frame_is_no_wrong_unit(tmp_path):
    assert prepare([sample(0, 0.2), *(sample(n) for n in range(1, 6))], tmp_path / "out").written == 6


def test_a_source_without_a_usable_pair_is_refused(tmp_path):
    with pytest.raises(PairsError, match="not a single pair in this split"):
        prepare([], tmp_path / "out")
    with pytest.raises(PairsError, match="none of the first 3 pairs can be used; the first: 0 is broken"):
        prepare(map(unreadable, range(3)), tmp_path / "out")
    with pytest.raises(PairsError, match="none of the first 20 "):
        prepare(map(unreadable, range(10**9)), tmp_path / "out")
    assert left_in(tmp_path) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(PairsError, match="already holds files"):
        prepare([sample(0)], tmp_path)
    assert left_in(tmp_path) == ["mine.txt"]


def test_what_the_finished_folder_cannot_take_the_place_of_is_refused_at_once_and_a_link_is_followed(
    tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    assert prepare([sample(0)], tmp_path / "link").pairs == tmp_path / "here" / "pairs.csv"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(PairsError, match="cannot be replaced"):
        prepare(iter([]), Path("."))
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "volume")
    with pytest.raises(PairsError, match="cannot be replaced"):
        prepare(iter([]), tmp_path / "volume")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    whole = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        if path.name == "000003.png":
            whole(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(PairsError, match=r"disk of .* is full: free some space"):
        prepare(map(sample, range(9)), tmp_path / "out")
    assert left_in(tmp_path) == []


@pytest.fixture
def listed(tmp_path) -> Path:
    """Pairs by CSV, in millimetres."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = ["image,depth"]
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.jpg"), picture(number))
        cv2.imwrite(str(folder / f"{number}.png"), np.full(SIZE, 2750 + number, np.uint16))
        rows.append(f"{number}.jpg,{number}.png")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder / "list.csv"


def run(*arguments):
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_the_command_tells_the_source_by_its_name(listed, tmp_path):
    result = run(listed, "--output", tmp_path / "out", "--every", 3, "--fx", 500)
    assert result.exit_code == 0, result.output
    pairs = read_pairs(tmp_path / "out" / "pairs.csv")
    assert [pair.index for pair in pairs] == [0, 1]  # still neighbours: a split must not part them
    assert pairs[0].intrinsics == Intrinsics(500, 500, 7.5, 5.5)
    assert np.unique(read_pair(pairs[1])[1]) == pytest.approx(2.753)
    assert "2 pairs, median depth 2.75 m" in result.output


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--unit", "m"), "millimetres read as metres? Set another --unit"),
        (("--unit", "inch"), "choose mm, cm, m"),
        (("--unit", "8bit"), "uint16 where 8 bits"),
        (("--kind", "video"), "unknown kind 'video'"),
        (("--kind", "nyu-mat"), "HDF5"),
        (("--fy", "500"), "without --fx"),
        (("--fx", "-1"), "above zero"),
    ],
)
def test_the_command_refuses_with_the_reason(listed, tmp_path, options, reason):
    result = run(listed, "--output", tmp_path / "out", *options)
    assert isinstance(result.exception, PairsError)
    assert reason in str(result.exception)
    assert left_in(tmp_path) == ["source"]


def test_a_unit_is_told_where_the_source_does_not_tell_it(tmp_path):
    (tmp_path / "nyu_depth_v2_labeled.mat").touch()
    result = run(tmp_path / "nyu_depth_v2_labeled.mat", "--output", tmp_path / "out", "--unit", "mm")
    assert "is nyu-mat, which says its own" in str(result.exception)


def test_ctrl_c_leaves_no_half_data_set(listed, tmp_path):
    """A real process, interrupted between two files."""
    fifo = listed.parent / "slow.jpg"
    os.mkfifo(fifo)  # reading it waits for a writer that never comes
    listed.write_text(listed.read_text() + "slow.jpg,3.png\n")
    command = [sys.executable, "-m", "depth_training", "prepare", str(listed), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list(tmp_path.glob(".out.*.partial/depth/000003.png")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert left_in(tmp_path) == ["source"]
