"""Views are planned once per camera, the focal ratio is the design's, and validity is REP 117's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depth_estimation_ros import camera_pipeline
from depth_estimation_ros.calibration import Calibration
from depth_estimation_ros.camera_pipeline import CameraPipeline, mark_invalid
from depth_estimation_ros.camera_pose import pose_over_floor
from depth_estimation_ros.inference.predictor import Prediction
from depth_estimation_ros.parameters import Parameters

TRAINING_PX = 130.0


class ConstantPredictor:
    """Sees two metres everywhere, before the focal ratio."""

    def __init__(self, training_px: float | None = TRAINING_PX):
        sizes = {"native_height": 120, "native_width": 160, "size_multiple": 8, "size_least": 32, "size_most": 1024}
        given = SimpleNamespace(resize_filter="area", fixed_size=None, zoom_range=(1.0, 1.0), **sizes)
        self.contract = SimpleNamespace(input=given, training_focal_px=training_px)
        self.warmed_up: list[tuple[int, int]] = []
        self.predicted: list[tuple[int, int]] = []

    def warm_up(self, height: int, width: int) -> bool:
        is_new = (height, width) not in self.warmed_up
        self.warmed_up.append((height, width))
        return is_new

    def predict(self, image_rgb: np.ndarray, focal_ratio: float) -> Prediction:
        self.predicted.append(image_rgb.shape[:2])
        return Prediction(np.full(image_rgb.shape[:2], 2 * focal_ratio, np.float32), None)


def calibration(height: int, width: int, focal_px: float) -> Calibration:
    k = np.array([[focal_px, 0, width / 2 - 0.5], [0, focal_px, height / 2 - 0.5], [0, 0, 1.0]])
    return Calibration(width, height, k, np.zeros(5), np.eye(3), np.zeros((3, 4)))


def image(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def test_depth_is_proportional_to_the_focal_length_left_after_choosing_the_size():
    pipeline = CameraPipeline(ConstantPredictor())
    for focal_px in (400.0, 520.0, 900.0):
        estimate = pipeline.estimate(image(480, 640), calibration(480, 640, focal_px), False, Parameters())
        height, width = estimate.view.network_size
        expected = focal_px * np.sqrt(height / 480 * width / 640) / TRAINING_PX
        assert estimate.focal_ratio == pytest.approx(expected)
        np.testing.assert_allclose(estimate.depth_m, 2 * expected, rtol=1e-6)
        assert estimate.remarks == ()


@pytest.mark.parametrize(
    ("predictor", "camera", "words"),
    [
        (ConstantPredictor(), None, "focal length is unknown"),
        (ConstantPredictor(None), calibration(480, 640, 500), "training focal length"),
    ],
)
def test_without_a_focal_length_the_ratio_is_one_and_a_remark_says_so(predictor, camera, words):
    estimate = CameraPipeline(predictor).estimate(image(480, 640), camera, False, Parameters())
    assert estimate.focal_ratio == 1
    assert any(words in remark for remark in estimate.remarks)


def test_the_correction_can_be_switched_off():
    pipeline = CameraPipeline(ConstantPredictor())
    estimate = pipeline.estimate(image(480, 640), calibration(480, 640, 900), False, Parameters(focal_correction=False))
    assert estimate.focal_ratio == 1
    assert estimate.remarks == ()


def test_a_view_is_planned_anew_only_when_the_camera_changes(monkeypatch):
    planned = []
    plan_view = camera_pipeline.plan_view
    monkeypatch.setattr(camera_pipeline, "plan_view", lambda *given: planned.append(given) or plan_view(*given))
    pipeline = CameraPipeline(ConstantPredictor())
    steps = [
        (image(480, 640), calibration(480, 640, 500), False, Parameters(), 1),
        (image(480, 640), calibration(480, 640, 500), False, Parameters(scale=2.0, max_range=5.0), 1),
        (image(480, 640), calibration(480, 640, 501), False, Parameters(), 2),
        (image(240, 320), calibration(480, 640, 501), False, Parameters(), 3),
        (image(240, 320), calibration(480, 640, 501), True, Parameters(), 4),
        (image(240, 320), None, True, Parameters(), 5),
        (image(240, 320), None, True, Parameters(assumed_hfov_deg=60.0), 6),
        (image(240, 320), None, True, Parameters(assumed_hfov_deg=60.0, max_network_pixels=9000), 7),
        (image(240, 320), None, True, Parameters(assumed_hfov_deg=60.0, max_network_pixels=9000), 7),
    ]
    for picture, camera, rectified, parameters, count in steps:
        estimate = pipeline.estimate(picture, camera, rectified, parameters)
        assert len(planned) == count
        assert estimate.image_rgb.shape[:2] == estimate.depth_m.shape == estimate.view.network_size
    assert np.prod(estimate.depth_m.shape) <= 9000


def test_the_network_is_warmed_up_at_the_size_that_the_camera_needs_before_its_first_frame():
    predictor = ConstantPredictor()
    pipeline = CameraPipeline(predictor)
    camera, parameters = calibration(480, 640, 300), Parameters()  # a wide lens, which needs more than the native size
    assert pipeline.prepare((480, 640), camera, False, parameters) is True
    (size,) = predictor.warmed_up
    assert size != (120, 160)
    assert predictor.predicted == []
    for _ in range(10):  # the first frame costs what the tenth does: one inference
        assert pipeline.prepare((480, 640), camera, False, parameters) is False
        pipeline.estimate(image(480, 640), camera, False, parameters)
    assert predictor.predicted == [size] * 10
    assert predictor.warmed_up == [size]


def test_another_size_is_warmed_up_and_another_calibration_of_the_same_size_is_not_news():
    predictor = ConstantPredictor()
    pipeline = CameraPipeline(predictor)
    steps = [((480, 640), 500.0, True), ((480, 640), 501.0, False), ((360, 640), 501.0, True)]
    for size, focal_px, had_to_run in steps:
        assert pipeline.prepare(size, calibration(*size, focal_px), False, Parameters()) is had_to_run


@given(
    hnp.arrays(np.float32, (4, 5), elements=st.floats(0.125, 64, width=32)),
    hnp.arrays(bool, (4, 5)),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.floats(0, 10, width=32),
    st.integers(1, 50),
)
def test_validity_is_rep_117_pixel_by_pixel(depth_m, valid_mask, scale, min_range, width_m):
    parameters = Parameters(scale=scale, min_range=min_range, max_range=float(np.float32(min_range + width_m)))
    before = depth_m.copy()
    marked_m = mark_invalid(depth_m, valid_mask, parameters)
    for index in np.ndindex(depth_m.shape):
        metres = float(depth_m[index]) * scale
        if not valid_mask[index]:
            assert np.isnan(marked_m[index])
        elif metres < parameters.min_range:
            assert marked_m[index] == -np.inf
        elif metres > parameters.max_range:
            assert marked_m[index] == np.inf
        else:
            assert marked_m[index] == np.float32(metres)
    assert marked_m.dtype == np.float32
    np.testing.assert_array_equal(depth_m, before)


class FloorPredictor(ConstantPredictor):
    """Sees the floor under a camera 0.5 m high that looks 30 degrees down, with the calibration of the test below."""

    def predict(self, image_rgb: np.ndarray, focal_ratio: float) -> Prediction:
        height, width = image_rgb.shape[:2]
        y = (np.arange(height)[:, None] - (height / 2 - 0.5)) / (TRAINING_PX * height / 120)
        depth_m = 0.5 / (np.cos(np.pi / 6) * y + np.sin(np.pi / 6)) * np.ones(width)
        return Prediction(depth_m.astype(np.float32), None)


def test_the_floor_moves_the_scale_only_where_it_is_asked_to_and_ranges_are_judged_after_it():
    pose = pose_over_floor(0.6, 30, "foot")
    pipeline, camera = CameraPipeline(FloorPredictor()), calibration(120, 160, TRAINING_PX)

    def middle_m(parameters, pose=pose):
        estimate = pipeline.estimate(image(120, 160), camera, False, parameters, pose)
        height, width = estimate.depth_m.shape
        return estimate, estimate.depth_m[height // 2 - 1 : height // 2 + 1, width // 2].mean()

    still, still_m = middle_m(Parameters())
    assert still.floor is None
    for _ in range(100):
        moved, moved_m = middle_m(Parameters(floor_scale=True))
    assert moved.floor is not None
    assert moved.floor.factor == pytest.approx(1.2, rel=0.01)
    assert moved_m == pytest.approx(1.2 * still_m, rel=0.01)
    near = Parameters(floor_scale=True, max_range=float(1.1 * still_m))
    assert middle_m(near)[1] == np.inf
    blind, blind_m = middle_m(Parameters(floor_scale=True), None)
    assert blind_m == pytest.approx(moved_m, rel=0.01)
    assert blind.floor is not None
    assert "unknown" in blind.floor.note
    pipeline.forget()
    forgotten, forgotten_m = middle_m(Parameters(floor_scale=True), None)
    assert forgotten.floor is not None
    assert forgotten.floor.factor == 1
    assert forgotten_m == pytest.approx(still_m)
    for _ in range(100):
        middle_m(Parameters(floor_scale=True))
    assert middle_m(Parameters())[1] == pytest.approx(still_m)


def test_a_camera_size_that_cannot_be_planned_leaves_the_plan_that_there_was(monkeypatch):
    pipeline, camera = CameraPipeline(ConstantPredictor()), calibration(480, 640, 520.0)
    pipeline.estimate(image(480, 640), camera, False, Parameters())
    plan, calls = camera_pipeline.plan_view, []

    def plan_once(*given):
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError("the maps do not fit")
        return plan(*given)

    monkeypatch.setattr(camera_pipeline, "plan_view", plan_once)
    with pytest.raises(MemoryError):
        pipeline.estimate(image(960, 1280), calibration(960, 1280, 1040.0), False, Parameters(output_size="camera"))
    assert pipeline.estimate(image(480, 640), camera, False, Parameters()).view.image_size == (480, 640)


def test_without_a_mask_all_is_valid():
    np.testing.assert_array_equal(mark_invalid(np.full((2, 2), 3, np.float32), None, Parameters()), 3)
