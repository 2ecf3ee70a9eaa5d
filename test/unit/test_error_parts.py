"""The parts of the error where they are known, their sum on anything, and the depth bins counted a second time."""

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given, settings
from hypothesis import strategies as st

from depth_estimation_ros.inference.predictor import Prediction
from depth_training.evaluation import judge_prediction
from depth_training.judging.error_parts import (
    BIN_EDGES_M,
    bin_sums,
    error_parts,
    near_steps,
    summarise_bins,
)
from depth_training.judging.judge import JudgedPair, summarise_source
from depth_training.protocols import NYU_EIGEN, PROTOCOLS

WHOLE = PROTOCOLS["whole-image"]


def step_scene() -> np.ndarray:
    """A wall at 4 m and a box at 2 m whose edge lies between columns 29 and 30."""
    truth = np.full((40, 60), 4.0, np.float32)
    truth[:, 30:] = 2.0
    return truth


def test_a_constant_factor_is_all_scale():
    truth = step_scene()
    parts = error_parts(1.3 * truth, truth, WHOLE)
    assert parts["scale_part"] == pytest.approx(0.3, abs=1e-6)
    assert parts["shape_part"] == pytest.approx(0, abs=1e-6)
    assert parts["edge_part"] == pytest.approx(0, abs=1e-6)


def test_an_edge_in_the_wrong_place_is_all_edge():
    """Two columns too far to the left: 80 pixels of 4 m are told as 2 m. The medians, 3 m here, stay equal."""
    truth = step_scene()
    predicted = np.roll(truth, -2, axis=1)
    predicted[:, -2:] = 2.0
    truth[0, 0] = 2.0  # an odd one, so that both medians are 2 m
    predicted[0, 0] = 2.0
    parts = error_parts(predicted, truth, WHOLE)
    assert parts["scale_part"] == pytest.approx(0, abs=1e-6)
    assert parts["shape_part"] == pytest.approx(0, abs=1e-6)
    assert parts["edge_part"] == pytest.approx(0.5 * 80 / 2400, abs=1e-6)


def test_a_bump_on_a_wall_is_all_shape():
    truth = np.full((40, 60), 3.0, np.float32)
    predicted = truth.copy()
    predicted[10:20, 10:20] *= 1.2
    parts = error_parts(predicted, truth, WHOLE)
    assert parts["edge_share"] == 0
    assert parts["shape_part"] == pytest.approx(0.2 * 100 / 2400, abs=1e-6)
    assert parts["scale_part"] == pytest.approx(0, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.01, 1), factor=st.floats(0.3, 3), holes=st.floats(0, 0.9))
def test_the_parts_add_up_to_abs_rel(seed, spread, factor, holes):
    random = np.random.default_rng(seed)
    truth = random.uniform(0.5, 9, (30, 40)).astype(np.float32)
    predicted = (factor * truth * np.exp(random.normal(0, spread, truth.shape))).astype(np.float32)
    truth[random.random(truth.shape) < holes] = 0
    parts = error_parts(predicted, truth, WHOLE)
    known = truth > 1e-3
    whole = np.mean(np.abs(np.clip(predicted, 1e-3, 10) - truth)[known].astype(float) / truth[known])
    assert parts["scale_part"] + parts["shape_part"] + parts["edge_part"] == pytest.approx(whole, rel=1e-5)
    assert parts["shape_part"] >= 0
    assert parts["edge_part"] >= 0
    assert 0 <= parts["edge_share"] <= 1


@pytest.mark.parametrize("reduce", ["image", "pooled"])
def test_the_parts_of_several_images_add_up_to_their_abs_rel(reduce):
    """Images with more and with fewer known pixels, under either mean."""
    random = np.random.default_rng(5)
    judged = []
    for holes in (0.0, 0.9):
        truth = random.uniform(0.5, 9, (30, 40)).astype(np.float32)
        truth[random.random(truth.shape) < holes] = 0
        predicted = Prediction((truth * (1.1 + holes) + 0.3).astype(np.float32), None)
        row = {**judge_prediction(predicted, truth, WHOLE), **error_parts(predicted.depth_m, truth, WHOLE)}
        judged.append(JudgedPair("a.jpg", [row], [bin_sums(predicted.depth_m, truth, WHOLE)], [None], 0.0))
    result = summarise_source(judged, 0, "somebody's", WHOLE, reduce)
    whole = sum(result["error_parts"][name] for name in ("scale_part", "shape_part", "edge_part"))
    assert whole == pytest.approx(result["abs_rel"], rel=1e-5)


def test_an_image_without_truth_has_no_parts():
    nothing = np.zeros((480, 640), np.float32)
    assert all(math.isnan(value) for value in error_parts(nothing + 2, nothing, NYU_EIGEN).values())
    assert bin_sums(nothing + 2, nothing, NYU_EIGEN).sum() == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), holes=st.floats(0, 0.9))
def test_near_steps_are_those_found_pixel_by_pixel(seed, holes):
    random = np.random.default_rng(seed)
    truth = random.choice([2.0, 2.3, 3.0], (14, 17), p=[0.9, 0.08, 0.02]).astype(np.float32)
    truth[random.random(truth.shape) < holes] = 0
    rows, columns = truth.shape
    steps = []
    for row in range(rows):
        for column in range(columns):
            around = truth[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            around = around[around > 0]
            if around.size and around.max() / around.min() > 1.25:
                steps.append((row, column))
    expected = np.zeros(truth.shape, bool)
    for row, column in steps:
        expected[max(row - 5, 0) : row + 6, max(column - 5, 0) : column + 6] = True
    assert np.array_equal(near_steps(truth), expected)


def test_bins_hold_what_a_loop_over_them_finds():
    random = np.random.default_rng(5)
    truth = random.uniform(0.2, 9.9, (3, 50, 60)).astype(np.float32)
    predicted = (truth * np.exp(random.normal(0.1, 0.3, truth.shape))).astype(np.float32)
    sums = np.stack([bin_sums(p, t, WHOLE) for p, t in zip(predicted, truth, strict=True)])
    bins = summarise_bins(sums)
    assert [entry["from_m"] for entry in bins] == list(BIN_EDGES_M[:-1])
    assert sum(entry["share"] for entry in bins) == pytest.approx(1)
    y, p = truth.ravel().astype(float), np.clip(predicted.ravel().astype(float), 1e-3, 10)
    for entry in bins:
        inside = (y >= entry["from_m"]) & (y < entry["to_m"])
        assert entry["pixels"] == inside.sum()
        assert entry["abs_rel"] == pytest.approx(np.mean(np.abs(y - p)[inside] / y[inside]))
        assert entry["rmse"] == pytest.approx(np.sqrt(np.mean((y - p)[inside] ** 2)))
        assert entry["delta1"] == pytest.approx(np.mean(np.maximum(y / p, p / y)[inside] < 1.25))
        assert entry["bias"] == pytest.approx(np.mean(np.log(p / y)[inside]))
        assert entry["interval95"][0] <= entry["abs_rel"] <= entry["interval95"][1]


def test_an_empty_bin_is_left_out_and_the_last_one_has_no_end():
    truth = np.full((480, 640), 15.0, np.float32)
    [entry] = summarise_bins(bin_sums(truth, truth, PROTOCOLS["fastdepth"])[np.newaxis])
    assert (entry["from_m"], entry["to_m"], entry["abs_rel"]) == (10.0, None, 0.0)
