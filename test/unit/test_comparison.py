"""Paired differences against closed forms and a plain loop; what is called a tie."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_training.intervals import mean_and_interval
from depth_training.judging.comparison import (
    Difference,
    compare_tables,
    joined_table,
    paired_difference,
    ties_with_best,
)
from depth_training.metrics import METRIC_NAMES


def table(abs_rel: np.ndarray, pixels: np.ndarray | None = None) -> pd.DataFrame:
    rows = {name: 1 - abs_rel if name.startswith("delta") else abs_rel for name in METRIC_NAMES}
    pixels = np.full(len(abs_rel), 100.0) if pixels is None else pixels
    return pd.DataFrame({"image": [f"{place}.jpg" for place in range(len(abs_rel))], "pixels": pixels, **rows})


def test_the_error_of_a_paired_difference_is_that_of_the_differences():
    """Images are far more unlike than the two models, which only pairing takes out."""
    random = np.random.default_rng(0)
    shared = random.uniform(0.05, 0.6, 400)
    gap = random.normal(0.01, 0.02, 400)
    value, error, (low, high) = paired_difference(shared + gap, shared)
    assert value == pytest.approx(gap.mean())
    assert error == pytest.approx(gap.std(ddof=1) / 20, rel=0.1)
    assert (low, high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.3 * error)


def test_pooled_differences_weigh_images_by_their_pixels():
    a, b = np.array([0.1, 0.4]), np.array([0.2, 0.2])
    weights = np.array([300.0, 100.0])
    assert paired_difference(a, b, weights)[0] == pytest.approx(0.175 - 0.2)
    expected = np.sqrt((300 * 0.01 + 100 * 0.16) / 400) - 0.2
    assert paired_difference(a, b, weights, squared=True)[0] == pytest.approx(expected)


def test_a_pooled_interval_is_that_of_a_plain_loop():
    random = np.random.default_rng(2)
    values, weights = random.uniform(0.1, 1, 30), random.uniform(10, 100, 30)
    mean, (low, high) = mean_and_interval(values, weights, squared=True)
    assert mean == pytest.approx(np.sqrt(np.sum(weights * values**2) / weights.sum()))
    draws = []
    other = np.random.default_rng(77)
    for _ in range(3000):
        places = other.integers(0, 30, 30)
        draws.append(np.sqrt(np.sum(weights[places] * values[places] ** 2) / weights[places].sum()))
    assert (low, high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])), rel=0.02)


@pytest.mark.parametrize(
    ("value", "error", "low", "high", "metric", "verdict"),
    [
        (-0.010, 0.012, -0.034, 0.014, "abs_rel", "tie"),
        (-0.018, 0.012, -0.042, 0.006, "abs_rel", "not told apart"),
        (-0.050, 0.012, -0.074, -0.026, "abs_rel", "a"),
        (0.050, 0.012, 0.026, 0.074, "abs_rel", "b"),
        (0.050, 0.012, 0.026, 0.074, "delta1", "a"),
        (-0.050, 0.012, -0.074, -0.026, "delta1", "b"),
    ],
)
def test_verdicts(value, error, low, high, metric, verdict):
    assert Difference("a", "b", metric, value, error, low, high).verdict == verdict


def test_a_clear_winner_and_a_tie_are_told_for_every_metric():
    random = np.random.default_rng(1)
    base = random.uniform(0.1, 0.3, 200)
    noise = random.normal(0, 0.01, 200)
    tables = {"good": table(base), "as good": table(base + noise - noise.mean()), "bad": table(base + 0.1)}
    differences = compare_tables(tables)
    assert len(differences) == 3 * len(METRIC_NAMES)
    verdicts = {(d.a, d.b): d.verdict for d in differences if d.metric == "delta1"}
    assert verdicts == {("good", "as good"): "tie", ("good", "bad"): "good", ("as good", "bad"): "as good"}
    results = [
        {"model": name, **{metric: rows[metric].mean() for metric in METRIC_NAMES}} for name, rows in tables.items()
    ]
    for metric in METRIC_NAMES:
        assert ties_with_best(results, differences, metric) == {"good", "as good"}


def test_images_that_one_of_them_cannot_be_judged_on_do_not_count():
    a, b = np.array([0.1, np.nan, 0.3]), np.array([0.2, 0.2, 0.2])
    [difference] = [d for d in compare_tables({"a": table(a), "b": table(b)}) if d.metric == "abs_rel"]
    assert difference.value == pytest.approx(0)


def test_the_joined_table_has_a_row_per_image_and_a_column_per_model_and_metric():
    joined = joined_table({"a": table(np.array([0.1, 0.2])), "b": table(np.array([0.3, 0.4]))}, [0.5, 0.6])
    assert joined["abs_rel a"].tolist() == [0.1, 0.2]
    assert joined["abs_rel b"].tolist() == [0.3, 0.4]
    assert joined["disagreement"].tolist() == [0.5, 0.6]
