"""Imitated cameras: windows and sizes in closed form, and a network whose answer to a lens is known exactly."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.camera_pipeline import CameraPipeline, Estimate
from depth_estimation_ros.demo.room import Room, camera_path
from depth_estimation_ros.inference import load_predictor, read_contract
from depth_estimation_ros.inference.model_file import default_model_path
from depth_estimation_ros.inference.predictor import Prediction
from depth_estimation_ros.parameters import Parameters
from depth_training.data.pairs import Pair
from depth_training.evaluation import Camera, predict_depth
from depth_training.imitated_cameras import (
    ASPECTS,
    CAMERAS,
    WAYS,
    CameraTrial,
    ImitatedCamera,
    compare,
    depth_as_a_robot_sees_it,
    measure,
    pinhole,
    summarise_cameras,
    target,
)

NYU = Camera(518.8579, 519.4696)


class ApparentSize:
    """Judges distance by apparent size alone: a disc of two metres' depth at training scale, nearer where larger.

    Depth is inversely proportional to the number of pixels across the disc, as for a perfect network that knows the
    disc's true size but not the lens.
    """

    def __init__(self, zoom_range: tuple[float, float] = (1.0, 1.0)):
        bundled = read_contract(default_model_path())
        self.contract = replace(bundled, input=replace(bundled.input, zoom_range=zoom_range))
        self.sizes = []

    def predict(self, image_rgb: np.ndarray, focal_ratio: float = 1.0) -> Prediction:
        self.sizes.append(image_rgb.shape[:2])
        across_px = 2 * math.sqrt((image_rgb[..., 0] / 255.0).sum() / math.pi)
        depth_m = 2.0 * 50 / across_px * focal_ratio
        return Prediction(np.full(image_rgb.shape[:2], depth_m, np.float32), None)


@pytest.fixture
def disc(tmp_path) -> Pair:
    """A disc of 100 pixels across, 50 at native size, two metres away like all else."""
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(image, (320, 240), 50, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "disc.png"), image)
    cv2.imwrite(str(tmp_path / "depth.png"), np.full((480, 640), 2000, np.uint16))
    return Pair(tmp_path / "disc.png", tmp_path / "depth.png", 0)


def test_the_correction_undoes_the_lens_and_without_it_the_bias_is_the_ratio(disc):
    """A network that goes by apparent size: corrected and formula depth is right, uncorrected wrong by the ratio."""
    rows = pd.DataFrame(measure(ApparentSize(), CAMERAS, [disc], NYU))
    for result in summarise_cameras(rows, CAMERAS):
        for way in ("native", "corrected", "formula"):
            assert result[f"bias_{way}"] == pytest.approx(0, abs=0.03), (result["camera"], way)
        assert result["bias_uncorrected"] == pytest.approx(-math.log(result["ratio"]), abs=0.03)
        assert result["expected_bias"] == pytest.approx(result["bias_uncorrected"], abs=0.06)
        if result["camera"].endswith("4:3"):
            assert result["ratio"] == pytest.approx(result["zoom"], rel=0.01)


def test_a_longer_lens_runs_at_the_training_scale_and_a_wider_one_smaller():
    image_rgb = np.zeros((480, 640, 3), np.uint8)
    for zoom in (0.7, 0.8, 1.0, 1.3, 1.6):
        predictor = ApparentSize()
        image_rgb[200:280, 280:360] = 255
        CameraTrial(predictor, ImitatedCamera(zoom), NYU).depth_maps(image_rgb, np.ones((480, 640), np.float32))
        corrected, uncorrected = predictor.sizes
        if zoom < 1:
            assert corrected == uncorrected == (240 * zoom, 320 * zoom)
        else:
            assert corrected == pytest.approx((240 / zoom, 320 / zoom), abs=2)
            assert uncorrected == (240, 320)


def test_a_longer_lens_that_training_has_shown_runs_at_native_size():
    image_rgb = np.full((480, 640, 3), 255, np.uint8)
    for zoom, factor in ((1.3, 1.0), (1.6, 1.0), (2.0, 2.0 / 1.6)):
        predictor = ApparentSize((0.85, 1.6))
        CameraTrial(predictor, ImitatedCamera(zoom), NYU).depth_maps(image_rgb, np.ones((480, 640), np.float32))
        assert predictor.sizes[0] == pytest.approx((240 / factor, 320 / factor), abs=2)


@given(st.floats(0.5, 3), st.sampled_from(sorted(ASPECTS)), st.integers(200, 800), st.integers(200, 800))
def test_a_window_lies_in_the_middle_and_has_the_aspect(zoom, aspect, height, width):
    rows, columns = ImitatedCamera(zoom, aspect).window(height, width)
    h, w = rows.stop - rows.start, columns.stop - columns.start
    assert 0 <= rows.start <= rows.stop <= height
    assert 0 <= columns.start <= columns.stop <= width
    assert w / h == pytest.approx(ASPECTS[aspect], rel=0.03)
    assert abs(rows.start + rows.stop - height) <= 1
    assert abs(columns.start + columns.stop - width) <= 1
    assert max(h / height, w / width) == pytest.approx(1 / max(zoom, 1), abs=0.01)


def test_only_pixels_that_the_protocol_compares_and_the_camera_sees_count(disc):
    truth_mm = np.full((480, 640), 2000, np.uint16)
    truth_mm[:45] = 9000  # outside the Eigen crop
    truth_mm[200:280, 280:360] = 4000
    cv2.imwrite(str(disc.depth), truth_mm)
    [row] = measure(ApparentSize(), [ImitatedCamera(1.6)], [disc], NYU)
    far = 80 * 80 / (300 * 400)  # all of the 1.6x window lies inside the crop
    shrunk = cv2.resize(cv2.imread(str(disc.image)), (320, 240), interpolation=cv2.INTER_AREA)
    depth_m = float(ApparentSize().predict(shrunk).depth_m[0, 0])
    expected = far * abs(depth_m - 4) / 4 + (1 - far) * abs(depth_m - 2) / 2
    assert row["abs_rel_native"] == pytest.approx(expected, abs=1e-3)
    cv2.imwrite(str(disc.depth), np.zeros((480, 640), np.uint16))
    assert not list(measure(ApparentSize(), CAMERAS, [disc], NYU))


def test_a_factor_on_the_depth_has_a_closed_form():
    truth_m = np.random.default_rng(0).uniform(1, 5, (20, 30))
    known = truth_m > 2
    abs_rel, bias = compare(1.2 * truth_m, truth_m, known)
    assert (abs_rel, bias) == (pytest.approx(0.2), pytest.approx(math.log(1.2)))
    truth_m[~known] = 0
    assert compare(1.2 * truth_m + 1e-9, truth_m, known)[0] == pytest.approx(0.2)


def test_targets_are_those_of_their_zooms():
    assert [target(zoom) for zoom in (0.5, 0.7, 0.79, 0.8, 1.0, 1.3, 1.31, 1.6, 1.7)] == [
        *(None, 1.2, 1.2, 1.1, 1.1, 1.1, 1.2, 1.2, None)
    ]
    columns = {f"{kind}_{way}": 0.1 for kind in ("abs_rel", "bias") for way in WAYS}
    for corrected, meets in ((0.109, True), (0.111, False)):
        rows = pd.DataFrame(
            [{**columns, "abs_rel_corrected": corrected, "image": "", "camera": "1x 4:3", "ratio": 1.0}]
        )
        [result] = summarise_cameras(rows, [ImitatedCamera()])
        assert result["meets_target"] is meets


@pytest.fixture(scope="module")
def bundled():
    return load_predictor("default", device="cpu")


def robot_estimate(predictor, image_rgb: np.ndarray, focal_px: float) -> Estimate:
    calibration = pinhole(*image_rgb.shape[:2], Camera(focal_px, focal_px))
    return CameraPipeline(predictor).estimate(image_rgb, calibration, False, Parameters(max_range=1000.0))


def test_a_full_hd_source_gives_the_depth_of_its_reduction(bundled):
    """The same view with a ninth of the pixels: the same network size and scale, so the same metres.

    The two network images differ only in sharpness, since one was shrunk twice.
    """
    room = Room()
    for hfov_deg, place in ((50, 0.1), (70, 0.8), (90, 0.4)):
        focal_px = 960 / math.tan(math.radians(hfov_deg / 2))
        k = np.array([[focal_px, 0, 959.5], [0, focal_px, 539.5], [0, 0, 1]])
        large_rgb, _ = room.render(camera_path(place), k, (1080, 1920))
        small_rgb = cv2.resize(large_rgb, (640, 360), interpolation=cv2.INTER_AREA)
        of_large = robot_estimate(bundled, large_rgb, focal_px)
        of_small = robot_estimate(bundled, small_rgb, focal_px / 3)
        assert of_large.view.network_size == of_small.view.network_size
        assert of_large.focal_ratio == pytest.approx(of_small.focal_ratio)
        np.testing.assert_allclose(of_large.view.k_network, of_small.view.k_network, rtol=1e-6)
        assert np.abs(of_large.image_rgb.astype(float) - of_small.image_rgb).mean() < 2  # of 255
        log_ratio = np.log(of_large.depth_m / of_small.depth_m)
        assert abs(log_ratio.mean()) < 0.02
        assert np.median(np.abs(log_ratio)) < 0.02


@pytest.mark.parametrize("value", [0, 3, 128, 252, 255])
@pytest.mark.parametrize("size", [(480, 640), (360, 640), (640, 480)])
def test_blank_dark_and_overexposed_images_give_finite_depth(bundled, value, size):
    noise = np.random.default_rng(8).integers(-2, 3, (*size, 3))
    image_rgb = np.clip(value + noise, 0, 255).astype(np.uint8)
    for blank_rgb in (image_rgb, np.full_like(image_rgb, value)):
        depth_m = robot_estimate(bundled, blank_rgb, 500.0).depth_m
        assert np.isfinite(depth_m).all()
        assert depth_m.min() > 0


def test_the_nodes_path_and_the_evaluations_agree(bundled):
    """Two ways to the same network: the node's pipeline, and what `evaluate` measures accuracy by."""
    image_rgb = cv2.resize(np.random.default_rng(9).integers(0, 256, (24, 32, 3), dtype=np.uint8), (1280, 960))
    calibration = pinhole(960, 1280, Camera(1038, 1038))
    robot_m, _ = depth_as_a_robot_sees_it(CameraPipeline(bundled), image_rgb, calibration)
    np.testing.assert_allclose(robot_m, predict_depth(bundled, image_rgb, Camera(1038, 1038)), rtol=1e-4)
