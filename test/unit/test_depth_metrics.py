"""The paper's metrics against closed forms and a second implementation in plain numpy."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_training.metrics import METRIC_NAMES, NYU_EIGEN, DepthMetrics, per_image_metrics  # noqa: E402


def maps(*values_m: float) -> torch.Tensor:
    return torch.stack([torch.full((1, 480, 640), value) for value in values_m])


def numpy_metrics(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The definitions of the protocol, written a second time, one image."""
    predicted, truth = predicted[45:471, 41:601].astype(float), truth[45:471, 41:601].astype(float)
    predicted = np.clip(predicted, 1e-3, 10.0)
    mask = (truth > 1e-3) & (truth < 10.0)
    y, p = truth[mask], predicted[mask]
    worst = np.maximum(y / p, p / y)
    return {
        "abs_rel": np.mean(np.abs(y - p) / y),
        "rmse": np.sqrt(np.mean((y - p) ** 2)),
        "rmse_relative": np.sqrt(np.mean(((y - p) / y) ** 2)),
        "log10": np.mean(np.abs(np.log10(y) - np.log10(p))),
        "delta1": np.mean(worst < 1.25),
        "delta2": np.mean(worst < 1.25**2),
        "delta3": np.mean(worst < 1.25**3),
    }


def test_a_constant_factor_has_a_closed_form():
    values = per_image_metrics(maps(2.4), maps(2.0))
    expected = {
        "abs_rel": 0.2,
        "rmse": 0.4,
        "rmse_relative": 0.2,
        "log10": math.log10(1.2),
        "delta1": 1.0,
        "delta2": 1.0,
        "delta3": 1.0,
    }
    assert {name: pytest.approx(value.item(), abs=1e-6) for name, value in values.items()} == expected


def test_prediction_and_truth_are_not_interchangeable():
    over = per_image_metrics(maps(3.0), maps(2.0))["abs_rel"].item()
    under = per_image_metrics(maps(2.0), maps(3.0))["abs_rel"].item()
    assert (over, under) == (pytest.approx(0.5), pytest.approx(1 / 3))


def test_the_crop_hides_errors_outside_it():
    truth, predicted = maps(2.0), maps(2.0)
    predicted[..., :45, :] = 9.0
    predicted[..., 471:, :] = 9.0
    predicted[..., :41] = 9.0
    predicted[..., 601:] = 9.0
    assert per_image_metrics(predicted, truth)["abs_rel"].item() == 0
    predicted[..., 45, 41] = 9.0
    assert per_image_metrics(predicted, truth)["abs_rel"].item() > 0


def test_unknown_truth_is_left_out_and_predictions_are_clipped():
    truth, predicted = maps(8.0), maps(25.0)
    truth[..., 100:200, :] = 0.0
    truth[..., 200:300, :] = 10.0
    assert per_image_metrics(predicted, truth)["rmse"].item() == pytest.approx(2.0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.01, 1.0), holes=st.floats(0, 0.9))
def test_agrees_with_a_second_implementation(seed, spread, holes):
    random = np.random.default_rng(seed)
    truth = random.uniform(0.5, 11.0, (480, 640)).astype(np.float32)
    predicted = (truth * np.exp(random.normal(0, spread, truth.shape))).astype(np.float32)
    truth[random.random(truth.shape) < holes] = 0
    values = per_image_metrics(torch.from_numpy(predicted)[None, None], torch.from_numpy(truth)[None, None])
    expected = numpy_metrics(predicted, truth)
    assert {name: value.item() for name, value in values.items()} == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_streaming_is_the_mean_over_images_whatever_the_batches():
    predicted, truth = maps(2.0, 3.0, 4.0, 5.0, 6.0), maps(2.5, 2.5, 2.5, 2.5, 2.5)
    whole, parts = DepthMetrics(), DepthMetrics()
    whole.update(predicted, truth)
    parts.update(predicted[:1], truth[:1])
    parts.update(predicted[1:], truth[1:])
    expected = per_image_metrics(predicted, truth)
    for name in METRIC_NAMES:
        assert whole.compute()[name].item() == pytest.approx(expected[name].mean().item())
        assert parts.compute()[name].item() == pytest.approx(expected[name].mean().item())


def test_an_image_without_truth_does_not_count():
    metrics = DepthMetrics()
    metrics.update(maps(2.0, 2.0), maps(2.5, 0.0))
    assert metrics.images == 1
    assert metrics.compute()["abs_rel"].item() == pytest.approx(0.2)


def test_another_size_is_refused_with_the_protocol_named():
    with pytest.raises(ValueError, match=rf"480, 640.*{NYU_EIGEN.name}"):
        per_image_metrics(torch.ones(1, 1, 240, 320), torch.ones(1, 1, 240, 320))
