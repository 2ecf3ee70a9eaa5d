"""Each protocol against its publication, written a second time in plain numpy and PIL; what a model is shown."""

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from PIL import Image  # noqa: E402

from depth_estimation_ros.inference import Prediction  # noqa: E402
from depth_training import evaluation  # noqa: E402
from depth_training.config import DataConfig  # noqa: E402
from depth_training.data.intrinsics import Intrinsics  # noqa: E402
from depth_training.data.pairs import Pair  # noqa: E402
from depth_training.evaluation import (  # noqa: E402
    Camera,
    assumed_camera,
    camera_of,
    given_camera,
    judge_prediction,
    predict_under,
)
from depth_training.metrics import METRIC_NAMES, DepthMetrics, per_image_metrics  # noqa: E402
from depth_training.protocols import (  # noqa: E402
    NYU_EIGEN,
    PROTOCOLS,
    ProtocolError,
    named_protocol,
    validation_protocol,
)

CAMERA = Camera(518.8579, 519.4696)


def scene(seed: int, holes: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth (480, 640) metres, of values that some protocols clip or leave out."""
    random = np.random.default_rng(seed)
    truth = random.uniform(0.05, 12, (480, 640)).astype(np.float32)
    predicted = (truth * np.exp(random.normal(0.05, 0.2, truth.shape))).astype(np.float32)
    if holes:
        truth[random.random(truth.shape) < 0.3] = 0
    return predicted, truth


def definitions(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    worst = np.maximum(y / p, p / y)
    return {
        "abs_rel": np.mean(np.abs(y - p) / y),
        "rmse": np.sqrt(np.mean((y - p) ** 2)),
        "rmse_relative": np.sqrt(np.mean(((y - p) / y) ** 2)),
        "log10": np.mean(np.abs(np.log10(y / p))),
        **{f"delta{power}": np.mean(worst < 1.25**power) for power in (1, 2, 3)},
    }


def compared_by_publication(name: str, p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (truth, prediction) that each publication compares."""
    p, y = p.astype(np.float64), y.astype(np.float64)
    if name in ("bts", "nyu-eigen", "whole-image"):
        p = np.clip(p, 1e-3, 10)
        mask = (y > 1e-3) & (y < 10)
        if name != "whole-image":
            crop = np.zeros_like(mask)
            crop[45:471, 41:601] = True
            mask &= crop
    elif name == "densedepth":
        first_row, last_row, first_column, last_column = 20, 459, 24, 615
        window = (slice(first_row, last_row + 1), slice(first_column, last_column + 1))
        p, y = np.clip(p[window], 0.1, 10), y[window]
        mask = y > 0
    else:  # fastdepth: 250/480, centre crop 228x304, 224x224, nearest throughout

        def transformed(plane: np.ndarray) -> np.ndarray:
            small = Image.fromarray(plane.astype(np.float32)).resize((333, 250), Image.Resampling.NEAREST)
            left, top = round((333 - 304) / 2), round((250 - 228) / 2)
            crop = small.crop((left, top, left + 304, top + 228))
            return np.asarray(crop.resize((224, 224), Image.Resampling.NEAREST), np.float64)

        p, y = transformed(p), transformed(y)
        mask = y > 0
    return y[mask], p[mask]


def as_batch(*planes: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(planes))[:, None]


@pytest.mark.parametrize("holes", [False, True], ids=["filled", "holes"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_compares_what_its_publication_compares(name, holes):
    predicted, truth = scene(3, holes)
    values = per_image_metrics(as_batch(predicted), as_batch(truth), PROTOCOLS[name])
    expected = definitions(*compared_by_publication(name, predicted, truth))
    assert {key: value.item() for key, value in values.items()} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["nyu-eigen", "densedepth", "fastdepth"])
@pytest.mark.parametrize("reduce", ["image", "pooled"])
def test_streaming_is_the_mean_over_images_or_over_pixels(name, reduce):
    scenes = [scene(1), scene(2, holes=True)]
    metrics = DepthMetrics(PROTOCOLS[name], reduce)
    for predicted, truth in scenes:
        metrics.update(as_batch(predicted), as_batch(truth))
    compared = [compared_by_publication(name, *planes) for planes in scenes]
    each = [definitions(*planes) for planes in compared]
    expected = {key: np.mean([one[key] for one in each]) for key in METRIC_NAMES}
    if reduce == "pooled":
        expected = definitions(*(np.concatenate(planes) for planes in zip(*compared, strict=True)))
    assert {key: value.item() for key, value in metrics.compute().items()} == pytest.approx(expected, rel=1e-6)


def test_the_two_reductions_differ_where_images_have_unlike_numbers_of_pixels():
    near, far = np.full((480, 640), 2.0, np.float32), np.full((480, 640), 4.0, np.float32)
    truth_far = far.copy()
    truth_far[:, 320:] = 0  # half as many pixels, and wrong by a half
    for reduce, weight_far in (("image", 1 / 2), ("pooled", 279 / (279 + 560))):
        metrics = DepthMetrics(NYU_EIGEN, reduce)
        metrics.update(as_batch(near, 1.5 * far), as_batch(near, truth_far))
        assert metrics.compute()["abs_rel"].item() == pytest.approx(0.5 * weight_far)


def test_a_prediction_that_is_unknown_counts_as_the_least_depth():
    truth = np.full((480, 640), 2.0, np.float32)
    for unknown in (np.nan, 0.0, -1.0, -np.inf):
        row = judge_prediction(Prediction(np.full_like(truth, unknown), None), truth, NYU_EIGEN)
        assert row["abs_rel"] == pytest.approx((2 - 1e-3) / 2)
        assert row["pixels"] == 426 * 560


def test_a_protocol_says_in_one_line_what_it_does():
    for name, protocol in PROTOCOLS.items():
        line = protocol.describe()
        assert line.startswith(f"{name}: ")
        assert "no alignment" in line
        assert ("mirrored" in line) == (name == "densedepth")
        assert "\n" not in line
    assert "all pixels pooled" in PROTOCOLS["densedepth"].describe("pooled")
    # Contracts of models that are already out there say this.
    assert NYU_EIGEN.describe() == (
        "nyu-eigen: 480x640, rows 45:471, columns 41:601, truth in (0.001, 10.0) m, predictions clipped to it, "
        "per image then mean, no alignment, no flip averaging, single scale"
    )


def test_an_unknown_protocol_names_those_there_are():
    with pytest.raises(ProtocolError, match=r"'eigen'.*nyu-eigen, bts, densedepth, fastdepth"):
        named_protocol("eigen")


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="image or pooled"):
        DepthMetrics(reduce="median")


@pytest.fixture
def shown(monkeypatch) -> list[np.ndarray]:
    """Every image that the stand-in for a model is shown; its depth is the red channel in decimetres."""
    images: list[np.ndarray] = []

    def answer(predictor, image_rgb, camera):
        images.append(image_rgb)
        depth_m = image_rgb[..., 0].astype(np.float32) / 10
        return Prediction(depth_m, np.full_like(depth_m, len(images)))

    monkeypatch.setattr(evaluation, "predict_at_image_size", answer)
    return images


@pytest.fixture
def image_rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (480, 640, 3), dtype=np.uint8)


def test_bts_blackens_the_border(shown, image_rgb):
    predict_under(None, image_rgb, CAMERA, PROTOCOLS["bts"])
    assert not shown[0][:7].any()
    assert not shown[0][474:].any()
    assert not shown[0][:, :7].any()
    assert not shown[0][:, 632:].any()
    assert np.array_equal(shown[0][7:474, 7:632], image_rgb[7:474, 7:632])


def test_densedepth_averages_with_the_mirrored_image_after_clipping_both(shown, image_rgb):
    """The stand-in sees no context, so an average that is mirrored back in place leaves its depth as it was."""
    depth_m = predict_under(None, image_rgb, CAMERA, PROTOCOLS["densedepth"]).depth_m
    assert np.array_equal(shown[1], image_rgb[:, ::-1])
    np.testing.assert_allclose(depth_m, np.clip(image_rgb[..., 0] / 10, 0.1, 10), rtol=1e-6)


def test_other_protocols_ask_once(shown, image_rgb):
    for name in set(PROTOCOLS) - {"densedepth"}:
        shown.clear()
        predict_under(None, image_rgb, CAMERA, PROTOCOLS[name])
        assert len(shown) == 1


def test_fastdepth_shows_its_crop_alone_and_puts_the_answer_back_in_place(shown, image_rgb):
    protocol = PROTOCOLS["fastdepth"]
    prediction = predict_under(None, image_rgb, CAMERA, protocol)
    (top, bottom), (left, right) = protocol.rows, protocol.columns
    assert np.array_equal(shown[0], image_rgb[top:bottom, left:right])
    assert prediction.depth_m.shape == (480, 640)
    compared = protocol.compared(prediction.depth_m)
    assert compared.shape == (224, 224)
    np.testing.assert_allclose(compared, protocol.compared(image_rgb[..., 0].astype(np.float32) / 10))
    assert math.isnan(prediction.depth_m[top - 1, left])


@pytest.mark.parametrize(("height", "width"), [(480, 640), (240, 320), (720, 960)])
def test_pairs_without_a_focal_length_are_the_assumed_cameras_at_their_own_size(height, width):
    """Half as many pixels across have half the focal length, by the definition of a pinhole."""
    silent = Pair(Path("a.jpg"), Path("a.png"), 0)
    assumed = assumed_camera(DataConfig(fx=500, fy=510))
    camera = camera_of(silent, assumed, (height, width, 3))
    assert (camera.fx, camera.fy) == pytest.approx((500 * width / 640, 510 * height / 480))
    told = Pair(Path("a.jpg"), Path("a.png"), 0, intrinsics=Intrinsics(300, 301))
    assert camera_of(told, assumed, (height, width)) == Camera(300, 301)


@pytest.mark.parametrize(("height", "width", "factor"), [(720, 1280, 2), (640, 480, 1), (500, 500, 500 / 640)])
def test_images_of_another_shape_are_taken_for_a_lens_as_wide_with_square_pixels(height, width, factor):
    silent = Pair(Path("a.jpg"), Path("a.png"), 0)
    camera = camera_of(silent, assumed_camera(DataConfig(fx=500, fy=510)), (height, width))
    assert (camera.fx, camera.fy) == pytest.approx((500 * factor, 510 * factor))


def test_a_focal_length_on_the_command_line_is_that_of_the_images_at_hand():
    silent = Pair(Path("a.jpg"), Path("a.png"), 0)
    assert camera_of(silent, given_camera(300, None, DataConfig()), (240, 320)) == Camera(300, 300)
    assert camera_of(silent, given_camera(300, 310, DataConfig()), (240, 320)) == Camera(300, 310)
    assert given_camera(None, None, DataConfig()) == assumed_camera(DataConfig())


def test_other_cameras_are_not_validated_under_a_published_name():
    assert validation_protocol(480, 640) is NYU_EIGEN
    assert validation_protocol(720, 1280).name == "whole-image"
    other = validation_protocol(480, 640, is_training_camera=False)
    assert other.rows == (0, None)
    assert "another camera" in other.describe()
