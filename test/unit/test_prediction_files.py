"""Other people's predictions: read, matched to images by name, resized, and refused in the wrong unit."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_estimation_ros.inference.predictor import Prediction
from depth_training.checkpoint import build_contract
from depth_training.config import DataConfig, TrainingConfig
from depth_training.data.pairs import Pair
from depth_training.data.sources.decoding import UNITS_M
from depth_training.evaluation import Camera, given_camera
from depth_training.judging.prediction_files import (
    PredictionsError,
    check_predicted_unit,
    match_predictions,
    read_prediction,
    resize_known,
)
from depth_training.judging.sources import FolderSource, ModelSource, open_source
from depth_training.protocols import NYU_EIGEN, PROTOCOLS

DEPTH_M = np.array([[1.0, 2.5], [0.0, 7.123]], np.float32)


def write_png(path: Path, depth_m: np.ndarray, steps_per_metre: float = 1000) -> Path:
    cv2.imwrite(str(path), np.rint(depth_m * steps_per_metre).astype(np.uint16))
    return path


def pair(name: str, folder: str = "images") -> Pair:
    return Pair(Path(folder) / name, Path(folder) / "depth.png", 0)


def test_every_kind_of_file_is_read_as_metres(tmp_path):
    np.save(tmp_path / "a.npy", DEPTH_M.astype(np.float64))
    np.save(tmp_path / "b.npy", DEPTH_M[np.newaxis, :, :, np.newaxis])
    np.savez(tmp_path / "c.npz", depth=DEPTH_M, other=np.zeros(3))
    np.savez(tmp_path / "d.npz", anything=DEPTH_M)
    write_png(tmp_path / "e.png", DEPTH_M)
    cv2.imwrite(str(tmp_path / "f.tiff"), DEPTH_M)
    for name, unit in [
        ("a.npy", "mm"),
        ("b.npy", "mm"),
        ("c.npz", "mm"),
        ("d.npz", "mm"),
        ("e.png", "mm"),
        ("f.tiff", "m"),
    ]:
        read = read_prediction(tmp_path / name, unit)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, DEPTH_M, atol=1e-6)


@pytest.mark.parametrize("unit", [unit for unit in UNITS_M if unit not in ("m", "8bit")])
def test_a_png_is_read_in_the_unit_that_is_stated(tmp_path, unit):
    path = write_png(tmp_path / "a.png", DEPTH_M, 1 / UNITS_M[unit])
    np.testing.assert_allclose(read_prediction(path, unit), DEPTH_M, atol=UNITS_M[unit])


def test_what_is_not_finite_is_unknown(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[np.nan, np.inf], [-1.0, 2.0]], np.float32))
    assert read_prediction(tmp_path / "a.npy", "mm").tolist() == [[0, 0], [0, 2]]


def test_files_that_hold_no_depth_are_named_with_the_reason(tmp_path):
    cv2.imwrite(str(tmp_path / "eight.png"), np.zeros((4, 4), np.uint8))
    cv2.imwrite(str(tmp_path / "coloured.png"), np.zeros((4, 4, 3), np.uint16))
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04")
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "batch.npy", np.zeros((2, 4, 4), np.float32))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=DEPTH_M, b=DEPTH_M)
    reasons = {
        "eight.png": "16 bits or floats in mm were promised",
        "coloured.png": "one channel",
        "cut.npy": "cannot be read",
        "no.npz": "cannot be read",
        "text.npy": "metres as numbers",
        "batch.npy": "one channel",
        "pickle.npy": "cannot be read",
        "two.npz": "a, b",
    }
    for name, reason in reasons.items():
        with pytest.raises(PredictionsError, match=f"{name}.*{reason}"):
            read_prediction(tmp_path / name, "mm")


def test_predictions_are_found_by_the_images_names(tmp_path):
    for name in ("0001_rgb.npy", "0002.npy", "0003_depth.npy", "0003_colour.png", "0005_pred_depth.npy", "other.npy"):
        (tmp_path / name).touch()
    pairs = [pair(f"000{number}_rgb.jpg") for number in range(1, 6)]
    found = match_predictions(tmp_path, pairs)
    names = [path and path.name for path in found]
    assert names == ["0001_rgb.npy", "0002.npy", "0003_depth.npy", None, "0005_pred_depth.npy"]


def test_predictions_may_be_called_as_colour_images_are(tmp_path):
    for name in ("0001_color.npy", "0002_colour.png", "0003.npy", "0003_color.png"):
        (tmp_path / name).touch()
    pairs = [pair("0001_color.png"), pair("0002_colour.png"), pair("0003_color.jpg")]
    found = match_predictions(tmp_path, pairs)
    assert [path and path.name for path in found] == ["0001_color.npy", "0002_colour.png", "0003_color.png"]
    assert match_predictions(tmp_path, [pair("0003_rgb.jpg")]) == [tmp_path / "0003.npy"]


def test_the_more_exact_of_two_files_is_taken(tmp_path):
    for name in ("0001_depth.png", "0001_depth.npy"):
        (tmp_path / name).touch()
    assert match_predictions(tmp_path, [pair("0001_rgb.jpg")]) == [tmp_path / "0001_depth.npy"]


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for scene in ("kitchen", "office"):
        (tmp_path / scene).mkdir()
        (tmp_path / scene / "0001.npy").touch()
    pairs = [pair("0001.jpg", "data/office"), pair("0001.jpg", "data/kitchen")]
    assert match_predictions(tmp_path, pairs) == [tmp_path / "office" / "0001.npy", tmp_path / "kitchen" / "0001.npy"]


def test_a_folder_that_cannot_be_matched_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match="no folder"):
        match_predictions(tmp_path / "none", [pair("0001.jpg")])
    with pytest.raises(PredictionsError, match="holds no prediction"):
        match_predictions(tmp_path, [pair("0001.jpg")])
    (tmp_path / "a.npy").touch()
    with pytest.raises(PredictionsError, match=r"named like a\.npy.*0001\.jpg"):
        match_predictions(tmp_path, [pair("0001.jpg")])
    for name in ("0001_pred.npy", "0001_depth.npy"):
        (tmp_path / name).touch()
    with pytest.raises(PredictionsError, match="could be the prediction"):
        match_predictions(tmp_path, [pair("0001.jpg")])


@pytest.mark.parametrize("stored", ["mm", "cm", "m", "tum", "kitti"])
@pytest.mark.parametrize("read", ["mm", "cm", "tum", "kitti"])
def test_a_unit_mistake_is_recognised_by_the_ratio(stored, read):
    """A prediction that is off by up to a fifth besides. Centimetres and KITTI's steps are too near each other."""
    if {stored, read} == {"cm", "kitti"}:
        return
    for off in (0.8, 1.0, 1.25):
        ratio = off * UNITS_M[read] / UNITS_M[stored]
        if stored == read:
            check_predicted_unit(ratio, 0.9, ".png", read)
            continue
        with pytest.raises(PredictionsError, match=rf"times the true depth.*--unit {stored}$"):
            check_predicted_unit(ratio, 0.9, ".png", read)


def test_arrays_in_millimetres_relative_and_inverse_depth_are_recognised():
    with pytest.raises(PredictionsError, match=r"stored in mm.*arrays in metres"):
        check_predicted_unit(1000, 0.9, ".npy", "mm")
    with pytest.raises(PredictionsError, match="no unit explains"):
        check_predicted_unit(4, 0.9, ".npy", "mm")
    with pytest.raises(PredictionsError, match="inverse depth"):
        check_predicted_unit(0.2, -0.9, ".npy", "mm")
    with pytest.raises(PredictionsError, match="inverse depth"):
        check_predicted_unit(1.0, -0.9, ".npy", "mm")
    check_predicted_unit(2.5, 0.0, ".npy", "mm")


@pytest.fixture
def pairs(tmp_path) -> list[Pair]:
    """Three 640x480 pairs of a slope from 1 to 5 m."""
    depth_m = np.tile(np.linspace(1, 5, 640, dtype=np.float32), (480, 1))
    listed = []
    for number in range(3):
        image, depth = tmp_path / f"{number}_rgb.png", tmp_path / f"{number}_truth.png"
        cv2.imwrite(str(image), np.zeros((480, 640, 3), np.uint8))
        write_png(depth, depth_m)
        listed.append(Pair(image, depth, number))
    return listed


def predictions(folder: Path, planes: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, plane in enumerate(planes):
        np.save(folder / f"{number}.npy", plane)
    return folder


IMAGE = np.zeros((480, 640, 3), np.uint8)


def test_another_size_is_resized_and_said(pairs, tmp_path):
    slope = np.linspace(1, 5, 640, dtype=np.float32)
    half = np.tile(slope.reshape(320, 2).mean(axis=1), (240, 1))
    source = FolderSource("p", predictions(tmp_path / "p", [half, half]), pairs, "mm", NYU_EIGEN)
    assert source.missing == ["2_rgb.png"]
    depth_m = source.predict(pairs[0], IMAGE).depth_m
    assert depth_m.shape == (480, 640)
    np.testing.assert_allclose(depth_m[:, 1:-1], np.tile(slope, (480, 1))[:, 1:-1], rtol=1e-4)
    assert source.remarks() == [
        "p: no prediction for 1 images: 2_rgb.png",
        "p: 1 predictions resized from 320x240",
    ]


@pytest.mark.parametrize(("fx", "fy", "is_said"), [(518.8579, 519.4696, False), (380.0, 381.0, True)])
def test_pairs_without_a_focal_length_are_said_to_be_nyus_where_the_model_is_of_another_camera(pairs, fx, fy, is_said):
    contract = build_contract(TrainingConfig(data=DataConfig(pairs="own.csv", fx=fx, fy=fy)), {})
    predictor = SimpleNamespace(contract=contract, predict=lambda image_rgb, ratio: flat(image_rgb.shape[:2]))
    source = ModelSource("own", predictor, given_camera(None, None, DataConfig()), NYU_EIGEN)
    source.predict(pairs[0], IMAGE)
    assert bool(source.remarks()) == is_said
    if is_said:
        [remark] = source.remarks()
        assert "1 images of 640x480 do not say their focal length" in remark
        assert "NYU Depth V2's, 519.2 pixels (the model's training camera has 380.5 there)" in remark


def flat(size: tuple[int, int]) -> Prediction:
    return Prediction(np.full(size, 2, np.float32), None)


def test_unknown_depth_neither_spoils_its_neighbours_nor_becomes_known_by_them():
    depth_m = np.full((24, 32), 4.0, np.float32)
    depth_m[8:16, 8:16] = 0
    resized_m = resize_known(depth_m, (48, 64))
    assert set(np.unique(resized_m)) == {0, 4}
    assert (resized_m[17:31, 17:31] == 0).all()
    assert (resized_m == 0).sum() == 16 * 16


@pytest.mark.parametrize("constant_m", [2.0, 2.5, 2.75, 3.3])
def test_the_same_depth_everywhere_is_a_baseline_and_no_mistake(pairs, tmp_path, constant_m):
    planes = [np.full((480, 640), constant_m, np.float32)] * 3
    assert FolderSource("p", predictions(tmp_path / "p", planes), pairs, "mm", NYU_EIGEN).missing == []


def test_a_prediction_of_fastdepths_own_size_is_taken_as_its_crop(pairs, tmp_path):
    protocol = PROTOCOLS["fastdepth"]
    own = np.random.default_rng(0).uniform(1, 5, (224, 224)).astype(np.float32)
    source = FolderSource("p", predictions(tmp_path / "p", [own] * 3), pairs, "mm", protocol)
    np.testing.assert_array_equal(protocol.compared(source.predict(pairs[0], IMAGE).depth_m), own)


def test_a_folder_in_the_wrong_unit_is_refused_when_it_is_opened(pairs, tmp_path):
    slope = np.tile(np.linspace(1, 5, 640, dtype=np.float32), (480, 1))
    folder = predictions(tmp_path / "p", [1000 * slope] * 3)
    with pytest.raises(PredictionsError, match="stored in mm"):
        open_source(str(folder), pairs, Camera(500, 500), NYU_EIGEN)
    folder = predictions(tmp_path / "inverse", [3 / slope] * 3)
    with pytest.raises(PredictionsError, match="inverse depth"):
        open_source(str(folder), pairs, Camera(500, 500), NYU_EIGEN)
    folder = predictions(tmp_path / "zero", [0 * slope] * 3)
    with pytest.raises(PredictionsError, match="unknown everywhere"):
        open_source(str(folder), pairs, Camera(500, 500), NYU_EIGEN)
