"""Each layout as its publishers write it, in small, and what is said of files that are not so."""

import zipfile

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import PairsError
from depth_training.data.sources import detect_kind
from depth_training.data.sources.bts import open_bts
from depth_training.data.sources.csv_pairs import open_csv
from depth_training.data.sources.decoding import to_metres
from depth_training.data.sources.densedepth import open_densedepth
from depth_training.data.sources.nyu_mat import open_nyu_mat

SIZE = (6, 8)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array if array.ndim == 2 else array[..., ::-1])[1].tobytes()


def jpg(image_rgb: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image_rgb[..., ::-1])[1].tobytes()


def frames(source):
    return [(sample, sample.read()) for sample in source.samples]


# nyu_depth_v2_labeled.mat

DEPTH_M = np.random.default_rng(9).uniform(1, 9, (4, *SIZE)).astype(np.float32)


@pytest.fixture
def labelled(tmp_path):
    """MATLAB writes (H, W, 3, N) column by column, so HDF5 shows (N, 3, W, H); names are references to characters."""
    h5py = pytest.importorskip("h5py", reason="reading .mat needs the train extra")
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w") as file:
        file["images"] = np.stack([picture(i) for i in range(4)]).transpose(0, 3, 2, 1)
        file["depths"] = DEPTH_M.transpose(0, 2, 1)
        holes = DEPTH_M.copy()
        holes[:, :2] = 0
        file["rawDepths"] = holes.transpose(0, 2, 1)
        names = [
            file.create_dataset(f"#refs#/{i}", data=np.array([[ord(c)] for c in f"room_{i // 2}"], np.uint16))
            for i in range(4)
        ]
        file["scenes"] = np.array([[name.ref for name in names]], dtype=h5py.ref_dtype)
    return path


def test_the_labelled_mat_file_is_turned_upright(labelled):
    source = open_nyu_mat(labelled)
    assert source.count == 4
    for number, (sample, frame) in enumerate(frames(source)):
        assert np.array_equal(frame.image_rgb, picture(number))
        assert np.array_equal(frame.depth_m, DEPTH_M[number])
        assert (sample.index, sample.scene) == (number, f"room_{number // 2}")
        assert frame.intrinsics.fx == pytest.approx(518.8579, abs=1e-4)
    _, raw = frames(open_nyu_mat(labelled, raw=True))[0]
    assert (raw.depth_m[:2] == 0).all()
    assert np.array_equal(raw.depth_m[2:], DEPTH_M[0, 2:])


def test_the_official_split_counts_from_one(labelled):
    scipy_io = pytest.importorskip("scipy.io", reason="reading splits.mat needs the train extra")
    splits = {"trainNdxs": np.array([[1], [4]], np.uint16), "testNdxs": np.array([[2], [3]], np.uint16)}
    scipy_io.savemat(labelled.with_name("splits.mat"), splits)
    assert [sample.index for sample in open_nyu_mat(labelled, "train").samples] == [0, 3]
    assert [sample.index for sample in open_nyu_mat(labelled, "test").samples] == [1, 2]
    scipy_io.savemat(labelled.with_name("other.mat"), {"testNdxs": np.array([[7]])})
    with pytest.raises(PairsError, match=r"names image 7, but the \.mat file has 4"):
        open_nyu_mat(labelled, "test", labelled.with_name("other.mat"))
    with pytest.raises(PairsError, match="lacks trainNdxs"):
        open_nyu_mat(labelled, "train", labelled.with_name("other.mat"))


def test_a_wrong_mat_file_is_refused_with_the_reason(labelled):
    import h5py

    with pytest.raises(PairsError, match=r"splits.mat does not exist.*--splits-file"):
        open_nyu_mat(labelled, "train")
    with pytest.raises(PairsError, match="train, test or all"):
        open_nyu_mat(labelled, "validation")
    cut = labelled.with_name("cut.mat")
    cut.write_bytes(labelled.read_bytes()[:1500])
    with pytest.raises(PairsError, match="HDF5"):
        open_nyu_mat(cut)
    with h5py.File(labelled.with_name("empty.mat"), "w") as file:
        file["images"] = np.zeros((1, 3, 2, 2), np.uint8)
    with pytest.raises(PairsError, match=r"lacks depths \(it has images\)"):
        open_nyu_mat(labelled.with_name("empty.mat"))


# DenseDepth's archive

STEPS = np.arange(48, dtype=np.uint8).reshape(SIZE) + 20
MILLIMETRES = (np.arange(48, dtype=np.uint16).reshape(SIZE) + 1) * 100


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "nyu_data.zip"
    with zipfile.ZipFile(path, "w") as file:
        lines = []
        for room, number in (("living_room_0038a_out", 37), ("living_room_0038b_out", 115), ("attic_0001_out", 1)):
            stem = f"data/nyu2_train/{room}/{number}"
            file.writestr(f"{stem}.jpg", jpg(picture(number)))
            file.writestr(f"{stem}.png", png(STEPS))
            lines.append(f"{stem}.jpg,{stem}.png\n")
        file.writestr("data/nyu2_train.csv", "".join(lines))
        file.writestr("data/nyu2_test/00000_colors.png", png(picture(5)))
        file.writestr("data/nyu2_test/00000_depth.png", png(MILLIMETRES))
        file.writestr("data/nyu2_test.csv", "data/nyu2_test/00000_colors.png,data/nyu2_test/00000_depth.png\n")
    return path


@pytest.mark.parametrize("place", ["zip", "folder", "data"])
def test_densedepth_reads_8_bits_for_training_and_16_for_the_test(archive, place):
    path = archive
    if place != "zip":
        zipfile.ZipFile(archive).extractall(archive.parent / "unpacked")
        path = archive.parent / "unpacked" / ("data" if place == "data" else "")
    assert detect_kind(path) == "densedepth"
    training = frames(open_densedepth(path))
    assert [sample.scene for sample, _ in training] == ["living_room_0038"] * 2 + ["attic_0001"]  # one room
    _, frame = training[0]
    assert frame.depth_m == pytest.approx(STEPS / 255 * 10, rel=1e-6)
    assert frame.encoded == (".jpg", jpg(picture(37)))
    assert frame.intrinsics.fy == pytest.approx(519.4696, abs=1e-4)
    ((_, tested),) = frames(open_densedepth(path, "test"))
    assert tested.depth_m == pytest.approx(MILLIMETRES / 1000)
    assert np.array_equal(tested.image_rgb, picture(5))


def test_a_wrong_archive_is_refused_and_a_missing_picture_only_named(archive):
    with zipfile.ZipFile(archive, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("data/nyu2_test.csv", "data/nyu2_test/00000_colors.png,data/nyu2_test/none.png\n")
    sample = next(open_densedepth(archive, "test").samples)
    with pytest.raises(PairsError, match=r"none\.png"):
        sample.read()
    with pytest.raises(PairsError, match="train or test"):
        open_densedepth(archive, "all")
    empty = archive.with_name("empty.zip")
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(PairsError, match=r"no data/nyu2_train\.csv"):
        open_densedepth(empty)
    archive.with_name("text.zip").write_text("no")
    with pytest.raises(PairsError, match="no zip file"):
        open_densedepth(archive.with_name("text.zip"))


def test_a_picture_that_the_archive_holds_damaged_is_named(archive):
    squeezed = archive.with_name("squeezed.zip")
    with zipfile.ZipFile(archive) as file, zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as again:
        for name in file.namelist():
            again.writestr(name, file.read(name))
        image = file.read("data/nyu2_test.csv").decode().split(",")[0]
    with zipfile.ZipFile(squeezed) as file:
        start = file.getinfo(image).header_offset + 30 + len(image)
    data = bytearray(squeezed.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    squeezed.write_bytes(data)
    with pytest.raises(PairsError, match="cannot be read"):
        next(open_densedepth(squeezed, "test").samples).read()


# Lists of files


def test_a_list_with_focal_lengths_and_leading_slashes(tmp_path):
    room = tmp_path / "sync" / "kitchen_0028b"
    room.mkdir(parents=True)
    room.joinpath("rgb_00045.jpg").write_bytes(jpg(picture(1)))
    room.joinpath("sync_depth_00045.png").write_bytes(
        png(np.where(MILLIMETRES > 2000, MILLIMETRES, 0).astype(np.uint16))
    )
    names = "/kitchen_0028b/rgb_00045.jpg /kitchen_0028b/sync_depth_00045.png"
    (tmp_path / "list.txt").write_text(f"{names} 518.8579\n\n{names}\n/kitchen_0028b/rgb_00045.jpg None 518.8579\n")
    assert detect_kind(tmp_path / "list.txt") == "bts"
    first, second, third = open_bts(tmp_path / "list.txt", tmp_path / "sync").samples
    frame = first.read()
    assert frame.intrinsics == Intrinsics(518.8579, 518.8579)
    assert (frame.depth_m == 0).sum() == (MILLIMETRES <= 2000).sum()
    assert frame.depth_m.max() == pytest.approx(4.8)
    assert (first.scene, second.read().intrinsics) == ("kitchen_0028", None)
    with pytest.raises(PairsError, match="None cannot be read"):
        third.read()
    kitti = next(open_bts(tmp_path / "list.txt", tmp_path / "sync", "kitti").samples).read()
    assert kitti.depth_m.max() == pytest.approx(4800 / 256)


@pytest.mark.parametrize("line", ["a.jpg", "a.jpg a.png 500 500", "a.jpg a.png wide", "a.jpg a.png 0"])
def test_a_line_that_is_no_pair_is_named(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"a.jpg a.png 500\n{line}\n")
    with pytest.raises(PairsError, match="in line 2"):
        open_bts(tmp_path / "list.txt")


def test_a_csv_of_pairs_in_any_unit(tmp_path):
    depth_m = np.linspace(0.5, 9, 48, dtype=np.float32).reshape(SIZE)
    depth_m[0, 0], depth_m[0, 1], depth_m[0, 2] = np.nan, -1, np.inf
    (tmp_path / "a.png").write_bytes(png(picture(1)))
    cv2.imwrite(str(tmp_path / "metres.tiff"), depth_m)
    (tmp_path / "mm.png").write_bytes(png(MILLIMETRES))
    (tmp_path / "pairs.csv").write_text("image,depth,fx,index\na.png,metres.tiff,500,3\na.png,mm.png,,4\n")
    frame = next(open_csv(tmp_path / "pairs.csv", unit="m").samples).read()
    assert frame.intrinsics == Intrinsics(500, 500)
    assert (frame.depth_m[0, :3] == 0).all()
    assert np.array_equal(frame.depth_m[1:], depth_m[1:])
    (tmp_path / "elsewhere.csv").write_text("image,depth\na.png,mm.png\n")
    for unit, metres in (("mm", 1e-3), ("cm", 1e-2), ("tum", 1 / 5000)):
        (sample,) = open_csv(tmp_path / "elsewhere.csv", tmp_path, unit).samples
        assert sample.read().depth_m == pytest.approx(MILLIMETRES * metres, rel=1e-6)


def test_depth_that_cannot_be_is_refused():
    with pytest.raises(PairsError, match=r"uint8 where 16 bits or floats in mm"):
        to_metres(np.ones(SIZE, np.uint8), "mm", "x")
    with pytest.raises(PairsError, match="uint16 where 8 bits"):
        to_metres(np.ones(SIZE, np.uint16), "8bit", "x")
    with pytest.raises(PairsError, match="coloured picture"):
        to_metres(np.ones((*SIZE, 3), np.uint8), "mm", "x")


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_an_image_that_was_cut_off_is_refused(tmp_path, ending):
    """Decoders fill what is missing with grey, without a word."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = jpg(image) if ending == ".jpg" else png(image)
    (tmp_path / f"a{ending}").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "d.png").write_bytes(png(np.ones((64, 64), np.uint16)))
    (tmp_path / "pairs.csv").write_text(f"image,depth\na{ending},d.png\n")
    (sample,) = open_csv(tmp_path / "pairs.csv").samples
    with pytest.raises(PairsError, match="must be a whole jpeg or png"):
        sample.read()


def test_a_source_of_no_known_layout_is_asked_about(tmp_path):
    with pytest.raises(PairsError, match="--kind"):
        detect_kind(tmp_path)
    with pytest.raises(PairsError, match="does not exist"):
        detect_kind(tmp_path / "none")
