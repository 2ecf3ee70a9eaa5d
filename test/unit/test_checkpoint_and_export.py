"""Checkpoints come back as they were, and both export formats answer as PyTorch does, confidence included."""

import subprocess

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

import depth_training.checkpoint as checkpoint_module  # noqa: E402
from depth_estimation_ros.inference import load_predictor  # noqa: E402
from depth_training.checkpoint import build_contract, describe_data, load_checkpoint, save_checkpoint  # noqa: E402
from depth_training.confidence_calibration import rescale_checkpoint  # noqa: E402
from depth_training.config import DataConfig, NetworkConfig, TrainingConfig  # noqa: E402
from depth_training.evaluation import open_model  # noqa: E402
from depth_training.export import ExportError, export_checkpoint  # noqa: E402
from depth_training.initialisation import find_checkpoint  # noqa: E402
from depth_training.network.depth_network import DepthNetwork  # noqa: E402

SIZES = [(72, 96), (96, 72), (66, 130), (64, 64)]


def network_config(confidence: bool) -> NetworkConfig:
    return NetworkConfig(
        widths=[16, 12, 8, 8],
        bottleneck_width=16,
        light_decoder=True,
        global_context=True,
        head="log_depth",
        confidence=confidence,
    )


@pytest.fixture(scope="module", params=[True, False], ids=["confidence", "depth_alone"])
def checkpoint(request, tmp_path_factory):
    torch.manual_seed(0)
    config = TrainingConfig(network=network_config(request.param), data=DataConfig(pairs="some/train.csv"))
    network = DepthNetwork(config.network).to(memory_format=torch.channels_last).train()
    with torch.no_grad():  # statistics and outputs that differ from place to place
        for _ in range(3):
            network(torch.rand(4, 3, 64, 64))
        network.head.conv.weight *= 5
        if network.confidence is not None:
            network.confidence.conv.weight *= 5
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    contract = build_contract(config, {"abs_rel": 0.5})
    save_checkpoint(network, contract, path)
    return path, network.eval(), contract


def test_a_checkpoint_comes_back_as_it_was(checkpoint):
    path, network, contract = checkpoint
    loaded, loaded_contract = load_checkpoint(path)
    assert loaded.config == network.config
    assert loaded_contract == contract
    assert not loaded.training
    expected = network.state_dict()
    actual = loaded.state_dict()
    assert list(actual) == list(expected)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_the_bundled_network_becomes_a_program_that_is_taken(tmp_path):
    """Its padding makes torch.export write guards, which others have none of."""
    export_checkpoint(find_checkpoint("default"), tmp_path / "default.pt2")
    answer = load_predictor(tmp_path / "default.pt2", device="cpu").predict(np.zeros((240, 320, 3), np.uint8))
    assert np.isfinite(answer.depth_m).all()


def test_the_revision_is_that_of_this_code_and_not_of_a_repository_around_it(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "somebody's project")
    installed = tmp_path / ".venv" / "checkpoint.py"
    installed.parent.mkdir()
    installed.write_text("")
    monkeypatch.setattr(checkpoint_module, "__file__", str(installed))
    assert checkpoint_module.git_revision() == "unknown"
    git("add", "--force", str(installed))
    git("commit", "--quiet", "-m", "this code")
    assert checkpoint_module.git_revision() == git("rev-parse", "--short=12", "HEAD")


def test_another_confidence_leaves_no_figures_of_the_old_one(tmp_path):
    bundled = find_checkpoint("default")
    before = load_checkpoint(bundled)[1].metrics
    assert "confidence" in before
    rescale_checkpoint(bundled, 3.0, tmp_path / "c.safetensors")
    after = load_checkpoint(tmp_path / "c.safetensors")[1].metrics
    assert "confidence" not in after
    assert after["abs_rel"] == before["abs_rel"]
    assert after["sigma_factor"] == pytest.approx(3 * before.get("sigma_factor", 1))


def test_the_contract_names_the_outputs_there_are(checkpoint):
    _, network, contract = checkpoint
    names = ("depth", "log_depth_sigma") if network.config.confidence else ("depth",)
    assert contract.output.names == names
    assert contract.output.confidence_meaning == (names[1] if len(names) > 1 else None)


@pytest.mark.parametrize(
    ("checkpoint", "suffix", "half"),
    [(True, ".onnx", True), (True, ".pt2", False), (False, ".onnx", False)],  # each takes many seconds
    indirect=["checkpoint"],
)
def test_an_exported_model_answers_as_pytorch_does(checkpoint, tmp_path, suffix, half):
    path, network, contract = checkpoint
    kept = export_checkpoint(path, tmp_path / "kept.safetensors", half)  # with the same rounding of weights
    reference = open_model(str(kept), "cpu")
    exported = load_predictor(export_checkpoint(path, tmp_path / f"m{suffix}", half), device="cpu")
    assert exported.contract == contract
    random = np.random.default_rng(1)
    for size in SIZES:
        image_rgb = random.integers(0, 256, (*size, 3), np.uint8)
        expected, actual = reference.predict(image_rgb, 1.3), exported.predict(image_rgb, 1.3)
        assert actual.depth_m.shape == size
        np.testing.assert_allclose(actual.depth_m, expected.depth_m, rtol=1e-3)
        if not network.config.confidence:
            assert actual.log_depth_sigma is None
            assert expected.log_depth_sigma is None
            continue
        assert actual.log_depth_sigma.shape == size
        assert np.ptp(actual.log_depth_sigma) > 0.01  # or the comparison would prove nothing
        np.testing.assert_allclose(actual.log_depth_sigma, expected.log_depth_sigma, rtol=1e-3)


def test_a_squeezenet_is_exported_for_any_size(tmp_path):
    """Its pooling rounds up in torchvision, which a graph with free height and width cannot."""
    torch.manual_seed(0)
    config = TrainingConfig(
        network=NetworkConfig(encoder="squeezenet1_0", widths=[16, 12, 8]), data=DataConfig(pairs="train.csv")
    )
    path = save_checkpoint(DepthNetwork(config.network), build_contract(config, {}), tmp_path / "m.safetensors")
    reference = open_model(str(path), "cpu")
    exported = load_predictor(export_checkpoint(path, tmp_path / "m.onnx", half=False), device="cpu")
    for size in SIZES:
        image_rgb = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
        expected = reference.predict(image_rgb).depth_m
        assert np.ptp(expected) > 0.01
        np.testing.assert_allclose(exported.predict(image_rgb).depth_m, expected, rtol=1e-3)


def test_an_export_may_claim_a_narrower_zoom_than_was_trained_and_no_wider(tmp_path):
    config = TrainingConfig(
        network=network_config(False), data=DataConfig(pairs="train.csv", zoom=0.5, zoom_least=0.7, zoom_greatest=1.6)
    )
    trained = save_checkpoint(DepthNetwork(config.network), build_contract(config, {}), tmp_path / "m.safetensors")
    for suffix in (".onnx", ".safetensors"):
        exported = open_model(str(export_checkpoint(trained, tmp_path / f"n{suffix}", zoom=(0.85, 1.5))), "cpu")
        assert exported.contract.input.zoom_range == (0.85, 1.5)
    for zoom in ((0.6, 1.5), (0.85, 1.7), (1.1, 1.5), (0.85, 0.9)):
        with pytest.raises(ExportError, match=r"training showed 0\.7 to 1\.6 times"):
            export_checkpoint(trained, tmp_path / "no.onnx", zoom=zoom)
    assert not (tmp_path / "no.onnx").exists()


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"validation_share": 0.1}, "blocks split"),
        ({"validation_share": 0.0}, "all pairs"),
        ({"validation_share": 0.1, "validation_pairs": "other/pairs.csv"}, "all pairs"),
        ({"validation_share": 0.0, "test_share": 0.2}, "blocks split"),
    ],
)
def test_a_contract_says_whether_pairs_were_held_apart(data, part):
    config = TrainingConfig(data=DataConfig(pairs="a/nyu2/train.csv", **data), init="runs/first/model.safetensors")
    assert describe_data(config) == f"nyu2/train.csv, {part}, seed 0, from first/model.safetensors"
