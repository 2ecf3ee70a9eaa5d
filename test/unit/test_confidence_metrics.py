"""Coverage, sparsification and calibration on errors whose distribution is known."""

import dataclasses
import json
import math

import cv2
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_training.checkpoint import RunError, build_contract, load_checkpoint, save_checkpoint  # noqa: E402
from depth_training.confidence import (  # noqa: E402
    CONFIDENCE_NAMES,
    REMOVED_SHARES,
    area_over_full,
    confidence_metrics,
    coverage,
    errors_in_sigmas,
    fit_sigma_factor,
    known_pixels,
    sparsification_curve,
)
from depth_training.confidence_calibration import (  # noqa: E402
    CalibrationError,
    calibrate_checkpoint,
    held_apart_pairs,
    match_checkpoint,
    rescale_checkpoint,
)
from depth_training.config import DataConfig, NetworkConfig, TrainingConfig, save_config  # noqa: E402
from depth_training.data.pairs import Pair, read_pairs  # noqa: E402
from depth_training.evaluation import Camera, evaluate_pairs, evenly_spread, open_model, summarise  # noqa: E402
from depth_training.metrics import METRIC_NAMES  # noqa: E402
from depth_training.model_files.ensemble import join_checkpoints  # noqa: E402
from depth_training.network.depth_network import ConfidenceHead, DepthNetwork  # noqa: E402
from depth_training.protocols import NYU_EIGEN  # noqa: E402
from depth_training.run_images import save_images  # noqa: E402

CAMERA = Camera(518.8579, 519.4696)


def scene(seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction, sigma and truth whose log errors are normal with ``spread`` times the sigma that is claimed."""
    random = np.random.default_rng(seed)
    predicted_m = random.uniform(1, 4, (480, 640))
    sigma = random.uniform(0.02, 0.2, (480, 640))
    return predicted_m, sigma, predicted_m * np.exp(spread * sigma * random.standard_normal((480, 640)))


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_coverage_of_normal_errors_is_the_error_function(spread):
    metrics = confidence_metrics(*scene(0, spread))
    assert metrics["coverage_1_sigma"] == pytest.approx(math.erf(1 / spread / math.sqrt(2)), abs=0.005)
    assert metrics["coverage_2_sigma"] == pytest.approx(math.erf(2 / spread / math.sqrt(2)), abs=0.005)


def slow_area(errors: np.ndarray, doubt: np.ndarray) -> float:
    """The definition a second time: remove, average, torch's trapezoids."""
    curve = []
    ascending = errors[np.argsort(doubt)]
    for share in REMOVED_SHARES:
        curve.append(ascending[: round((1 - share) * len(errors))].mean())
    area = torch.trapezoid(torch.tensor(curve), torch.tensor(REMOVED_SHARES))
    return area.item() / (curve[0] * 0.95)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 40))
def test_the_area_is_that_of_the_definition(seed, twenties):
    random = np.random.default_rng(seed)
    errors, doubt = random.exponential(size=20 * twenties), random.permutation(20 * twenties)
    assert area_over_full(sparsification_curve(errors, doubt)) == pytest.approx(slow_area(errors, doubt))


def test_doubt_equal_to_the_error_has_a_closed_form():
    """Errors 1..N, greatest removed first: the rest has 1 - s of the full mean after a share s."""
    errors = np.arange(1.0, 100_001)
    curve = sparsification_curve(errors, errors)
    np.testing.assert_allclose(curve / errors.mean(), 1 - REMOVED_SHARES, rtol=1e-3)
    assert area_over_full(curve) == pytest.approx(1 - 0.95 / 2, rel=1e-3)


def test_removal_at_random_is_1_and_of_the_surest_is_above():
    random = np.random.default_rng(2)
    errors = random.exponential(size=200_000)
    # Equal doubt must not remove by place in the image: near pixels lie below, and their errors are small.
    for doubt in (random.random(200_000), np.zeros(200_000)):
        assert area_over_full(sparsification_curve(np.sort(errors), doubt)) == pytest.approx(1, abs=0.02)
    assert area_over_full(sparsification_curve(errors, -errors)) > 1.2
    assert area_over_full(np.zeros(20)) == 1
    assert sparsification_curve(np.array([3.0]), np.array([1.0])).tolist() == [3.0] * 20


def test_a_true_sigma_beats_removal_at_random_and_a_turned_one_does_not():
    predicted_m, sigma, truth_m = scene(3)
    true, turned = confidence_metrics(predicted_m, sigma, truth_m), confidence_metrics(predicted_m, 1 / sigma, truth_m)
    assert true["sparsification_abs_rel"] < 0.85 < 1.1 < turned["sparsification_abs_rel"]
    # Errors in metres grow with sigma and with depth: who knows both does better than who knows the depth alone.
    assert true["sparsification_rmse"] < true["farthest_rmse"] - 0.02
    assert turned["sparsification_rmse"] > true["farthest_rmse"] + 0.02
    for name in ("farthest_abs_rel", "farthest_rmse"):
        assert true[name] == turned[name]  # it asks the depth only
    assert true["farthest_rmse"] < 0.85  # the error in metres grows with depth, the relative one does not
    assert true["farthest_abs_rel"] == pytest.approx(1, abs=0.02)


def test_only_the_protocols_pixels_count():
    predicted_m, sigma, truth_m = scene(4)
    expected = confidence_metrics(predicted_m, sigma, truth_m)
    outside = np.ones((480, 640), bool)
    outside[45:471, 41:601] = False
    predicted_m[outside] = 9.0
    assert confidence_metrics(predicted_m, sigma, truth_m) == expected
    truth_m[100:200, 100:300] = 0  # unknown
    truth_m[200:210, 100:300] = 10.0  # beyond
    predicted, _, truth = known_pixels(predicted_m, sigma, truth_m)
    assert len(predicted) == len(truth) == 426 * 560 - 110 * 200
    assert known_pixels(np.full((480, 640), 20.0), sigma, truth_m)[0].max() == 10
    nothing = confidence_metrics(predicted_m, sigma, np.zeros((480, 640)))
    assert all(math.isnan(nothing[name]) for name in CONFIDENCE_NAMES)
    with pytest.raises(ValueError, match="480, 640"):
        known_pixels(predicted_m[:240], sigma, truth_m)


@pytest.mark.parametrize("spread", [0.3, 1.0, 1.7])
def test_the_fitted_factor_is_the_one_that_the_errors_were_made_with(spread):
    images = [errors_in_sigmas(*scene(seed, spread)).ravel() for seed in range(3)]
    factor = fit_sigma_factor([*images, np.empty(0)])
    assert factor == pytest.approx(spread, rel=0.01)
    assert coverage(np.concatenate(images) / factor, 1) == pytest.approx(0.683, abs=0.003)


def test_every_image_counts_alike_in_the_fit():
    """Two images of 10 and 100,000 pixels: half of all pixels so counted have errors of 1, half of 3."""
    factor = fit_sigma_factor([np.full(10, 1.0), np.full(100_000, 3.0)], share=0.49)
    assert factor == 1
    with pytest.raises(ValueError, match="no image"):
        fit_sigma_factor([])
    with pytest.raises(ValueError, match="zero"):
        fit_sigma_factor([np.zeros(10)])


def network_config(confidence: bool = True) -> NetworkConfig:
    return NetworkConfig(widths=[8, 8, 8, 8], bottleneck_width=8, head="log_depth", confidence=confidence)


def write_checkpoint(path, confidence: bool = True, bias: float | None = None):
    torch.manual_seed(0)
    config = TrainingConfig(network=network_config(confidence), data=DataConfig(pairs="some/train.csv"))
    config.data.native_height, config.data.native_width = 120, 160
    network = DepthNetwork(config.network).eval()
    if bias is not None:
        network.confidence.conv.bias.data.fill_(bias)
    return save_checkpoint(network, build_contract(config, {"abs_rel": 0.5}), path)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[Pair]:
    folder = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(5)
    listed = []
    for number in range(3):
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(small, (640, 480)))
        depth_mm = 2750 * np.exp(0.5 * random.standard_normal((480, 640)))
        cv2.imwrite(str(folder / f"{number}_depth.png"), depth_mm.astype(np.uint16))
        listed.append(Pair(folder / f"{number}.png", folder / f"{number}_depth.png", 10 * number))
    csv = folder / "pairs.csv"
    rows = ["image,depth,nyu_index", *(f"{p.image.name},{p.depth.name},{p.index}" for p in listed)]
    csv.write_text("\n".join(rows))
    return read_pairs(csv)


def test_a_calibrated_checkpoint_covers_68_percent_and_answers_the_same_depth(tmp_path, pairs):
    source = write_checkpoint(tmp_path / "m.safetensors")
    factor = calibrate_checkpoint(source, pairs, CAMERA, tmp_path / "new" / "c.safetensors")
    before, after = open_model(str(source)), open_model(str(tmp_path / "new" / "c.safetensors"))
    image_rgb = np.random.default_rng(6).integers(0, 256, (120, 160, 3), np.uint8)
    old, new = before.predict(image_rgb), after.predict(image_rgb)
    np.testing.assert_array_equal(new.depth_m, old.depth_m)
    np.testing.assert_allclose(new.log_depth_sigma, factor * old.log_depth_sigma, rtol=1e-5)
    rows = pd.DataFrame(evaluate_pairs(after, pairs, CAMERA))
    assert rows["coverage_1_sigma"].mean() == pytest.approx(0.683, abs=0.01)
    assert after.contract.metrics["sigma_factor"] == pytest.approx(factor)
    assert (
        load_checkpoint(source)[0].state_dict().keys()
        == load_checkpoint(tmp_path / "new" / "c.safetensors")[0].state_dict().keys()
    )


def test_a_camera_of_another_size_is_calibrated_on_whole_images(tmp_path, pairs):
    listed = []
    for number, pair in enumerate(pairs):
        image, depth = tmp_path / f"{number}.png", tmp_path / f"{number}_depth.png"
        cv2.imwrite(str(image), cv2.resize(cv2.imread(str(pair.image)), (320, 240)))
        cv2.imwrite(str(depth), cv2.imread(str(pair.depth), cv2.IMREAD_UNCHANGED)[::2, ::2])
        listed.append(Pair(image, depth, number))
    source = write_checkpoint(tmp_path / "m.safetensors")
    factor = calibrate_checkpoint(source, listed, Camera(259.0, 259.0), tmp_path / "c.safetensors")
    assert factor == pytest.approx(calibrate_checkpoint(source, pairs, CAMERA, tmp_path / "whole.safetensors"), rel=0.2)


def test_a_sigma_that_its_bounds_cut_off_is_measured_again(tmp_path, pairs):
    """It starts beyond the upper bound: one factor on what comes out would leave it far from the mark."""
    source = write_checkpoint(tmp_path / "m.safetensors", bias=ConfidenceHead.LOG_SIGMA_RANGE[1] + 0.2)
    calibrate_checkpoint(source, pairs, CAMERA, tmp_path / "c.safetensors")
    rows = pd.DataFrame(evaluate_pairs(open_model(str(tmp_path / "c.safetensors")), pairs, CAMERA))
    assert rows["coverage_1_sigma"].mean() == pytest.approx(0.683, abs=0.02)


def test_a_network_that_learnt_all_gets_the_level_of_one_that_was_calibrated(tmp_path, pairs):
    """The other one is the same, its sigma 1.7 times as large, its depth stretched: so the factor must be."""
    source, like = write_checkpoint(tmp_path / "m.safetensors"), tmp_path / "like.safetensors"
    rescale_checkpoint(source, 1.7, like)
    network, contract = load_checkpoint(like)
    network.head.stretch(1.1, 0.2)
    save_checkpoint(network, contract, like)
    target = tmp_path / "c.safetensors"
    assert match_checkpoint(source, like, pairs, CAMERA, target) == pytest.approx(1.7, rel=1e-4)
    image_rgb = np.random.default_rng(6).integers(0, 256, (120, 160, 3), np.uint8)
    before, after, wanted = (open_model(str(file)).predict(image_rgb) for file in (source, target, like))
    np.testing.assert_array_equal(after.depth_m, before.depth_m)
    np.testing.assert_allclose(after.log_depth_sigma, wanted.log_depth_sigma, rtol=1e-4)


def test_what_cannot_be_calibrated_says_so(tmp_path, pairs):
    without = write_checkpoint(tmp_path / "m.safetensors", confidence=False)
    with pytest.raises(CalibrationError, match=r"network\.confidence=true"):
        calibrate_checkpoint(without, pairs, CAMERA, tmp_path / "c.safetensors")
    source = write_checkpoint(tmp_path / "with.safetensors")
    for one, other in ((source, without), (without, source)):
        with pytest.raises(CalibrationError, match=r"network\.confidence=true"):
            match_checkpoint(one, other, pairs, CAMERA, tmp_path / "c.safetensors")
    with pytest.raises(CalibrationError, match="no image"):
        match_checkpoint(source, source, [], CAMERA, tmp_path / "c.safetensors")
    beyond = write_checkpoint(tmp_path / "n.safetensors", bias=50.0)
    with pytest.raises(CalibrationError, match=r"between 0\.018 and 2\.72"):
        calibrate_checkpoint(beyond, pairs, CAMERA, tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_the_held_apart_pairs_are_the_runs_own(tmp_path, pairs):
    csv = tmp_path / "pairs.csv"
    listed = [f"{p.image},{p.depth},{p.index}" for p in pairs]
    csv.write_text("\n".join(["image,depth,nyu_index", *listed]))
    config = TrainingConfig(network=network_config(True), data=DataConfig(pairs=str(csv), validation_share=0.3))
    model = save_checkpoint(DepthNetwork(config.network), build_contract(config, {}), tmp_path / "model.safetensors")
    save_config(config, tmp_path / "config.yaml")
    apart = held_apart_pairs(model)
    assert len(apart) == 1
    assert apart[0] in pairs

    save_images(tmp_path, {"training": [pair for pair in pairs if pair not in apart], "validation": apart})
    assert held_apart_pairs(model) == apart
    others = [pair for pair in pairs if pair not in apart]
    csv.write_text("\n".join(["image,depth,nyu_index", *(f"{p.image},{p.depth},{p.index}" for p in others)]))
    with pytest.raises(RunError, match=r"begun with 1 validation images.*give others by --pairs"):
        held_apart_pairs(model)
    csv.write_text("\n".join(["image,depth,nyu_index", *listed]))

    joined = join_checkpoints([model, model], tmp_path / "both.safetensors")
    with pytest.raises(CalibrationError, match=r"both\.safetensors was trained on 2 x .*give --pairs"):
        held_apart_pairs(joined)
    with pytest.raises(ValueError, match="does not exist"):
        held_apart_pairs(tmp_path / "elsewhere" / "model.safetensors")
    save_config(
        dataclasses.replace(config, data=DataConfig(pairs=str(csv), validation_share=0.0)), tmp_path / "config.yaml"
    )
    with pytest.raises(CalibrationError, match=r"held no pairs apart \(data.validation_share=0\): give --pairs"):
        held_apart_pairs(model)


@pytest.mark.parametrize("confidence", [True, False])
def test_an_evaluation_reports_the_confidence_where_there_is_one(tmp_path, pairs, confidence):
    predictor = open_model(str(write_checkpoint(tmp_path / "m.safetensors", confidence)))
    rows = pd.DataFrame(evaluate_pairs(predictor, pairs, CAMERA))
    result = json.loads(json.dumps(summarise(rows, "m")))
    assert set(METRIC_NAMES) | {"images", "protocol", "model"} <= set(result)
    assert result["protocol"] == NYU_EIGEN.describe()
    assert ("confidence" in result) == confidence
    if confidence:
        assert set(result["confidence"]) == {*CONFIDENCE_NAMES, "interval95"}
        for name in CONFIDENCE_NAMES:
            low, high = result["confidence"]["interval95"][name]
            assert low <= result["confidence"][name] <= high
            assert result["confidence"][name] == pytest.approx(rows[name].mean())


def test_evenly_spread_takes_both_ends_and_no_pair_twice():
    pairs = [Pair(f"{n}.jpg", f"{n}.png", n) for n in range(100)]
    assert evenly_spread(pairs, None) == evenly_spread(pairs, 100) == pairs
    picked = [pair.index for pair in evenly_spread(pairs, 8)]
    assert (picked[0], picked[-1], len(set(picked))) == (0, 99, 8)
    assert np.ptp(np.diff(picked)) <= 1
