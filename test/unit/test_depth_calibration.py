"""A stretch of log depth that is known beforehand is found and folded in; where there is none to find, it is said."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_estimation_ros.inference.preprocessing import resize_image  # noqa: E402
from depth_training.checkpoint import build_contract, load_checkpoint, save_checkpoint  # noqa: E402
from depth_training.confidence_calibration import CalibrationError  # noqa: E402
from depth_training.config import DataConfig, NetworkConfig, TrainingConfig  # noqa: E402
from depth_training.data.pairs import Pair  # noqa: E402
from depth_training.depth_calibration import calibrate_depth, fit_stretch  # noqa: E402
from depth_training.evaluation import open_model  # noqa: E402
from depth_training.model_files.ensemble import join_checkpoints  # noqa: E402
from depth_training.network.depth_network import DepthNetwork, LogDepthHead  # noqa: E402

NATIVE = (120, 160)


def write_checkpoint(path, head: str = "log_depth"):
    torch.manual_seed(0)
    network = NetworkConfig(widths=[8, 8, 8, 8], bottleneck_width=8, head=head, confidence=True)
    data = DataConfig(pairs="some/train.csv", native_height=NATIVE[0], native_width=NATIVE[1])
    built = DepthNetwork(network).eval()
    with torch.no_grad():
        built.head.conv.weight *= 20  # or its depth would be nearly one number
    contract = build_contract(TrainingConfig(network=network, data=data), {"abs_rel": 0.5})
    return save_checkpoint(built, contract, path)


def write_pair(folder, checkpoint, gain: float, shift: float) -> Pair:
    """An image whose true depth is what the checkpoint answers, stretched; a third of it is unknown."""
    small = np.random.default_rng(7).integers(0, 256, (12, 16, 3), np.uint8)
    image_rgb = cv2.resize(small, (640, 480))
    network, _ = load_checkpoint(checkpoint)
    seen = torch.from_numpy(resize_image(image_rgb, NATIVE, "area")).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        raw = network.head.raw(network(seen)[0])
        truth_m = network.head.log_depth(gain * raw + shift).exp()[0, 0].numpy()
    depth_mm = np.kron(np.rint(1000 * truth_m), np.ones((8, 8))).astype(np.uint16)  # 60x80 to 480x640
    depth_mm[:160] = 0
    cv2.imwrite(str(folder / "image.png"), image_rgb[..., ::-1])
    cv2.imwrite(str(folder / "depth.png"), depth_mm)
    return Pair(folder / "image.png", folder / "depth.png", 0)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.7, 1.5), shift=st.floats(-0.5, 0.5), seed=st.integers(0, 99))
def test_a_known_stretch_is_found_in_spite_of_outliers_and_holes(gain, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    head = LogDepthHead(4, NetworkConfig(greatest_depth_m=20.0))
    raw = torch.randn(4000, generator=generator)
    truth_m = head.log_depth(gain * raw + shift).exp().detach()
    truth_m[:400] *= 3  # a tenth is wrong, and a tenth unknown
    truth_m[400:800] = 0
    found = fit_stretch(head, raw, truth_m)
    assert found.gain == pytest.approx(gain, abs=0.03)
    assert found.shift == pytest.approx(shift, abs=0.03)
    assert found.error <= found.error_before


def test_a_heads_raw_answers_come_back_from_its_depth():
    head = LogDepthHead(4, NetworkConfig())
    raw = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(head.raw(head.log_depth(raw).exp()), raw, rtol=0, atol=2e-3)
    at_bounds = head.raw(torch.tensor([0.1, 10.0]))
    assert torch.isfinite(at_bounds).all()


def test_the_checkpoint_answers_the_stretched_depth(tmp_path):
    source = write_checkpoint(tmp_path / "m.safetensors")
    pair = write_pair(tmp_path, source, 1.2, -0.1)
    stretch = calibrate_depth(source, [pair], tmp_path / "new" / "s.safetensors")
    assert (stretch.gain, stretch.shift) == pytest.approx((1.2, -0.1), abs=0.02)
    assert stretch.error < 0.01 < stretch.error_before

    before, after = open_model(str(source)), open_model(str(tmp_path / "new" / "s.safetensors"))
    assert not after.contract.metrics
    image_rgb = np.random.default_rng(6).integers(0, 256, (*NATIVE, 3), np.uint8)
    (network, _), seen = load_checkpoint(source), torch.from_numpy(image_rgb).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        raw = network.head.raw(network(seen)[0])
        expected_m = network.head.log_depth(stretch.gain * raw + stretch.shift).exp()[0, 0].numpy()
    found = after.predict(image_rgb)
    np.testing.assert_allclose(found.depth_m, resize_image(expected_m, NATIVE, "linear"), rtol=1e-3)
    np.testing.assert_array_equal(found.log_depth_sigma, before.predict(image_rgb).log_depth_sigma)


def test_what_cannot_be_stretched_says_why_and_writes_nothing(tmp_path):
    source, linear = (
        write_checkpoint(tmp_path / "m.safetensors"),
        write_checkpoint(tmp_path / "l.safetensors", "linear"),
    )
    joined = join_checkpoints([source, source], tmp_path / "joined.safetensors")
    pair = write_pair(tmp_path, source, 1.0, 0.0)
    unknown = Pair(pair.image, tmp_path / "unknown.png", 0)
    cv2.imwrite(str(unknown.depth), np.zeros((480, 640), np.uint16))
    output = tmp_path / "s.safetensors"
    for checkpoint, pairs, reason in (
        (linear, [pair], "linear head"),
        (joined, [pair], "calibrate its members"),
        (source, [unknown], "no pixel of the pairs has a known depth"),
    ):
        with pytest.raises(CalibrationError, match=reason):
            calibrate_depth(checkpoint, pairs, output)
    assert not output.exists()
