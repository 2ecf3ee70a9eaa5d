"""Images at the camera's size against planes in closed form, OpenCV's undistortion and the camera's own pixels."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from depth_estimation_ros.calibration import Calibration
from depth_estimation_ros.camera_pipeline import CameraPipeline, Estimate
from depth_estimation_ros.inference.predictor import Prediction
from depth_estimation_ros.parameters import Parameters

SIZE = (360, 480)
K = np.array([[391.0, 0, 243.25], [0, 388.0, 171.5], [0, 0, 1]])
P = np.array([[370.0, 0, 236.0, 0], [0, 372.0, 183.5, 0], [0, 0, 1, 0]])
DISTORTION = [-0.28, 0.09, 0.0006, -0.0011, -0.012]
NORMAL, DISTANCE_M = np.array([0.5, -0.35, 0.8]), 2.1

PINHOLE = Calibration(480, 360, K, np.zeros(5), np.eye(3), np.zeros((3, 4)))
LENS = Calibration(480, 360, K, np.array(DISTORTION), np.eye(3), P)


def plane_m(k: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    rays = np.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1], np.ones(size)], axis=-1)
    return DISTANCE_M / (rays @ NORMAL)


class Double:
    """Answers with what a function makes of the network's size, a third of the camera's by the focal lengths."""

    def __init__(self, depth_m, log_depth_sigma=None):
        sizes = {"native_height": 120, "native_width": 160, "size_multiple": 8, "size_least": 32, "size_most": 1024}
        self.contract = SimpleNamespace(
            input=SimpleNamespace(resize_filter="area", fixed_size=None, zoom_range=(1.0, 1.0), **sizes),
            training_focal_px=130.0,
        )
        self._depth_m, self._sigma = depth_m, log_depth_sigma

    def predict(self, image_rgb: np.ndarray, focal_ratio: float) -> Prediction:
        size = (image_rgb.shape[0], image_rgb.shape[1])
        sigma = None if self._sigma is None else self._sigma(size).astype(np.float32)
        return Prediction(self._depth_m(size).astype(np.float32), sigma)


def at_network(k_camera: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pinhole of the camera image shrunk to `size`, by what a pixel's corners are: u + 1/2 scales."""
    scale = np.diag([size[1] / SIZE[1], size[0] / SIZE[0], 1])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ scale @ half @ k_camera


def estimate(double: Double, calibration: Calibration | None, image: np.ndarray | None = None, **given) -> Estimate:
    if image is None:
        image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    parameters = Parameters(**{"output_size": "camera", **given})
    return CameraPipeline(double).estimate(image, calibration, False, parameters)


@pytest.mark.parametrize(("calibration", "k"), [(PINHOLE, K), (LENS, P[:, :3])])
def test_a_plane_is_the_same_plane_at_the_cameras_size(calibration, k):
    double = Double(lambda size: plane_m(at_network(k, size), size))
    found = estimate(double, calibration)
    height, width = found.depth_m.shape
    assert (height, width) == found.view.network_size != SIZE
    np.testing.assert_allclose(found.output_view.k_network, k, rtol=1e-12)
    assert found.output_view.network_size == found.output_depth_m.shape == SIZE
    expected_m = plane_m(k, SIZE)
    # Before the outermost centres of network pixels depth is the border repeated.
    rows, columns = int(np.ceil(SIZE[0] / height / 2)), int(np.ceil(SIZE[1] / width / 2))
    inside = np.zeros(SIZE, bool)
    inside[rows:-rows, columns:-columns] = True
    known = np.isfinite(found.output_depth_m)
    assert (known & inside).mean() > 0.9
    np.testing.assert_allclose(found.output_depth_m[known & inside], expected_m[known & inside], rtol=2e-6)
    assert found.output_depth_m.dtype == np.float32


def test_without_a_lens_the_image_is_the_cameras_own():
    image = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(estimate(Double(np.ones), PINHOLE, image).output_rgb, image)
    np.testing.assert_array_equal(estimate(Double(np.ones), None, image).output_rgb, image)


def test_a_lens_is_undone_as_opencv_does():
    image = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (*SIZE, 3), dtype=np.uint8), (0, 0), 3)
    found = estimate(Double(np.ones), LENS, image)
    expected = cv2.undistort(image, K, np.array(DISTORTION), None, P[:, :3])
    inside = cv2.undistort(np.full(SIZE, 255, np.uint8), K, np.array(DISTORTION), None, P[:, :3]) == 255
    np.testing.assert_allclose(found.output_rgb[inside].astype(int), expected[inside], atol=2)
    # Where the camera saw nothing, depth is unknown.
    seen = np.isfinite(found.output_depth_m)
    assert not seen.all()
    assert (seen == inside).mean() > 0.99


def test_marks_do_not_spread():
    def step(size):
        return np.where(np.arange(size[1]) < size[1] // 2, 2.0, 8.0) * np.ones(size)

    found = estimate(Double(step), PINHOLE, max_range=5.0, min_range=1.0)
    output_m = found.output_depth_m
    assert set(np.unique(np.isfinite(output_m))) == {False, True}
    assert (output_m[np.isfinite(output_m)] <= 5).all()
    assert (output_m[~np.isfinite(output_m)] == np.inf).all()
    # Columns beyond one network pixel from the step are what they were.
    middle, pixel = SIZE[1] // 2, int(np.ceil(SIZE[1] / found.depth_m.shape[1]))
    np.testing.assert_array_equal(output_m[:, : middle - pixel], 2)
    assert (output_m[:, middle + pixel :] == np.inf).all()


def test_the_users_scale_holds_at_both_sizes():
    found = estimate(Double(np.ones), PINHOLE, scale=1.5)
    np.testing.assert_allclose(found.depth_m, 1.5)
    np.testing.assert_allclose(found.output_depth_m, 1.5)


@pytest.mark.parametrize("size", ["network", "camera"])
def test_depth_of_little_confidence_is_unknown_at_both_sizes(size):
    def sigma(shape):
        return np.where(np.arange(shape[0]) < shape[0] // 2, 0.1, 1.0)[:, np.newaxis] * np.ones(shape)

    found = estimate(Double(np.ones, sigma), PINHOLE, output_size=size, min_confidence=0.6)
    assert found.remarks == ()
    for depth_m in (found.depth_m, found.output_depth_m):
        quarter = len(depth_m) // 4
        np.testing.assert_array_equal(depth_m[:quarter], 1)
        assert np.isnan(depth_m[-quarter:]).all()
    assert found.output_confidence.shape == found.output_depth_m.shape
    np.testing.assert_array_equal(found.output_confidence < 0.6, np.isnan(found.output_depth_m))
    unmasked = estimate(Double(np.ones, sigma), PINHOLE, output_size=size)
    assert np.isfinite(unmasked.output_depth_m).all()


def test_confidence_is_zero_where_the_camera_saw_nothing():
    found = estimate(Double(np.ones, lambda size: np.full(size, 0.1)), LENS)
    unseen = np.isnan(found.output_depth_m)
    assert unseen.any()
    assert (found.output_confidence[unseen] == 0).all()
    assert (found.output_confidence[~unseen] > 0.9).all()


def test_a_model_without_confidence_masks_nothing_and_a_remark_says_so():
    found = estimate(Double(np.ones), PINHOLE, min_confidence=0.6)
    assert found.output_confidence is None
    assert np.isfinite(found.output_depth_m).all()
    assert [remark for remark in found.remarks if "min_confidence" in remark]


def test_at_network_size_the_outputs_are_the_estimates_own():
    found = estimate(Double(np.ones), PINHOLE, output_size="network")
    assert found.output_view is found.view
    assert found.output_depth_m is found.depth_m
    assert found.output_rgb is found.image_rgb


def test_the_size_can_change_between_frames():
    pipeline, image = CameraPipeline(Double(np.ones)), np.zeros((*SIZE, 3), np.uint8)
    for wanted in ("network", "camera", "network"):
        found = pipeline.estimate(image, PINHOLE, False, Parameters(output_size=wanted))
        assert (found.output_depth_m.shape == SIZE) == (wanted == "camera")
