"""What is left above a confidence, against a loop over the same pixels and a normal error whose sigma is known."""

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_training.judging.confidence_masks import THRESHOLDS, mask_sums, summarise_masks
from depth_training.protocols import PROTOCOLS

WHOLE = PROTOCOLS["whole-image"]


def test_each_threshold_keeps_what_is_at_least_as_sure():
    random = np.random.default_rng(3)
    truth = random.uniform(0.5, 9, (2, 30, 40)).astype(np.float32)
    truth[random.random(truth.shape) < 0.2] = 0
    predicted = (truth * random.uniform(0.6, 1.6, truth.shape) + 0.1).astype(np.float32)
    sigma = random.uniform(0.02, 0.6, truth.shape).astype(np.float32)
    masks = summarise_masks(
        np.stack([mask_sums(p, s, t, WHOLE) for p, s, t in zip(predicted, sigma, truth, strict=True)])
    )
    assert [entry["min_confidence"] for entry in masks] == list(THRESHOLDS)
    least, greatest = WHOLE.bounds_m
    known = (truth > least) & (truth < greatest)
    erf = np.vectorize(math.erf)(math.log(1.25) / (sigma * math.sqrt(2)))
    ratio = np.clip(predicted, least, greatest)[known] / truth[known]
    for entry in masks:
        kept = erf[known] >= entry["min_confidence"]
        assert entry["kept"] == pytest.approx(kept.mean(), abs=2e-4)
        assert entry["abs_rel"] == pytest.approx(np.abs(ratio[kept] - 1).mean(), rel=2e-3)
        assert entry["delta1"] == pytest.approx((np.maximum(ratio, 1 / ratio)[kept] < 1.25).mean(), abs=2e-3)
        assert entry["told"] == pytest.approx(erf[known][kept].mean(), abs=1e-3)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_right_sigma_tells_delta1_and_a_small_one_tells_too_much(factor):
    """Normal errors of ln(depth) with a known deviation; half of it as sigma is overconfident."""
    random = np.random.default_rng(4)
    sigma = random.uniform(0.1, 0.4, (400, 400))
    truth = np.full(sigma.shape, 3.0, np.float32)
    predicted = (truth * np.exp(sigma * random.standard_normal(sigma.shape))).astype(np.float32)
    [everything, *_] = summarise_masks(mask_sums(predicted, (factor * sigma).astype(np.float32), truth, WHOLE)[None])
    assert everything["kept"] == 1
    if factor == 1:
        assert everything["told"] == pytest.approx(everything["delta1"], abs=0.005)
    else:
        assert everything["told"] > everything["delta1"] + 0.1


def test_thresholds_that_keep_nothing_are_left_out():
    truth = np.full((30, 40), 2.0, np.float32)
    masks = summarise_masks(mask_sums(truth, np.full((30, 40), 0.2, np.float32), truth, WHOLE)[None])  # 0.74
    assert [entry["min_confidence"] for entry in masks] == [0.0, 0.5, 0.6, 0.7]
    assert masks[-1]["kept"] == 1
