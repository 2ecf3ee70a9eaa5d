"""One model of several: against the closed form, and through the files that a model goes through."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_estimation_ros.inference.predictor import load_predictor  # noqa: E402
from depth_training.checkpoint import CheckpointError, build_contract, load_checkpoint, save_checkpoint  # noqa: E402
from depth_training.confidence_calibration import CalibrationError, rescale_checkpoint, scale_sigma  # noqa: E402
from depth_training.config import ConfigError, DataConfig, NetworkConfig, TrainingConfig  # noqa: E402
from depth_training.evaluation import open_model  # noqa: E402
from depth_training.export import export_checkpoint  # noqa: E402
from depth_training.initialisation import resolve_config  # noqa: E402
from depth_training.model_files.description import describe_model  # noqa: E402
from depth_training.model_files.ensemble import average_checkpoints, join_checkpoints  # noqa: E402
from depth_training.network.depth_network import DepthNetwork  # noqa: E402
from depth_training.network.ensemble import NetworkEnsemble  # noqa: E402

IMAGE_RGB = np.random.default_rng(3).integers(0, 256, (120, 160, 3), np.uint8)


def write_member(path, seed: int, confidence: bool = True, data: DataConfig | None = None, width: int = 8):
    torch.manual_seed(seed)
    network = NetworkConfig(widths=[width, 8, 8, 8], bottleneck_width=8, head="log_depth", confidence=confidence)
    data = data or DataConfig(pairs="some/train.csv", native_height=120, native_width=160)
    config = TrainingConfig(name=f"member{seed}", network=network, data=data)
    built = DepthNetwork(network).eval()
    with torch.no_grad():
        built.head.conv.weight *= 5  # or the members would hardly disagree
    return save_checkpoint(built, build_contract(config, {"abs_rel": 0.2}), path)


@pytest.fixture
def members(tmp_path):
    """Three networks, of which one is wider than the others."""
    return [write_member(tmp_path / f"{seed}.safetensors", seed, width=8 + 4 * (seed == 2)) for seed in range(3)]


def answers(paths):
    predictions = [open_model(str(path), "cpu").predict(IMAGE_RGB) for path in paths]
    return np.stack([p.depth_m for p in predictions]), np.stack([p.log_depth_sigma for p in predictions])


def half_size_answers(paths):
    image = torch.from_numpy(IMAGE_RGB).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        outputs = [load_checkpoint(path)[0](image) for path in paths]
    return tuple(np.stack(parts) for parts in zip(*outputs, strict=True))


def test_depth_is_the_geometric_mean_and_the_variance_is_total(members, tmp_path):
    joined = join_checkpoints(members, tmp_path / "quality.safetensors")
    depths_m, sigmas = half_size_answers(members)
    depth_m, sigma = half_size_answers([joined])
    np.testing.assert_allclose(depth_m[0], np.prod(depths_m.astype(float), 0) ** (1 / 3), rtol=1e-5)
    disagreement = np.log(depths_m.astype(float)).std(0)
    assert disagreement.max() > 0.02
    np.testing.assert_allclose(sigma[0] ** 2, (sigmas**2).mean(0) + disagreement**2, rtol=1e-4)


def test_equal_members_answer_as_one(members, tmp_path):
    joined = join_checkpoints([members[0]] * 3, tmp_path / "same.safetensors")
    (depths_m, sigmas), (depth_m, sigma) = answers(members[:1]), answers([joined])
    np.testing.assert_allclose(depth_m, depths_m, rtol=1e-5)
    np.testing.assert_allclose(sigma, sigmas, rtol=1e-4)


def test_the_contract_is_the_members_with_the_zoom_that_all_have_seen(tmp_path):
    size = {"native_height": 120, "native_width": 160, "zoom": 0.5}
    wide = DataConfig(pairs="some/train.csv", zoom_least=0.7, zoom_greatest=1.4, **size)
    long = DataConfig(pairs="some/train.csv", zoom_least=0.85, zoom_greatest=1.6, **size)
    paths = [write_member(tmp_path / f"{n}.safetensors", n, data=data) for n, data in enumerate((wide, long))]
    joined = join_checkpoints(paths, tmp_path / "new" / "quality.safetensors")
    contract, member = load_checkpoint(joined)[1], load_checkpoint(paths[0])[1]
    assert (contract.name, contract.input.zoom_range, contract.metrics) == ("quality", (0.85, 1.4), {})
    assert contract.encoder == f"2 x {member.encoder}"
    assert contract.output == member.output
    rows = dict(describe_model(str(joined)).rows)
    single = dict(describe_model(str(paths[0])).rows)
    assert float(rows["parameters"].split()[0]) == pytest.approx(2 * float(single["parameters"].split()[0]), abs=0.02)
    assert float(rows["multiply-adds"].split()[0]) == pytest.approx(
        2 * float(single["multiply-adds"].split()[0]), abs=0.02
    )


def test_an_exported_ensemble_answers_as_pytorch_does(members, tmp_path):
    joined = join_checkpoints(members[1:], tmp_path / "quality.safetensors")
    exported = load_predictor(export_checkpoint(joined, tmp_path / "quality.onnx", half=False), device="cpu")
    for size in ((120, 160), (95, 131)):
        image_rgb = np.random.default_rng(4).integers(0, 256, (*size, 3), np.uint8)
        expected, actual = open_model(str(joined), "cpu").predict(image_rgb), exported.predict(image_rgb)
        np.testing.assert_allclose(actual.depth_m, expected.depth_m, rtol=1e-3)
        np.testing.assert_allclose(actual.log_depth_sigma, expected.log_depth_sigma, rtol=1e-3)


def test_the_average_has_the_mean_of_all_weights_and_the_time_of_one(members, tmp_path):
    mean, contract = load_checkpoint(average_checkpoints(members[:2], tmp_path / "new" / "mean.safetensors"))
    states = [load_checkpoint(path)[0].state_dict() for path in members[:2]]
    for name, tensor in mean.state_dict().items():
        expected = (states[0][name].double() + states[1][name].double()) / 2
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6)
    member = load_checkpoint(members[0])[1]
    assert (contract.name, contract.encoder, contract.metrics) == ("member0", member.encoder, {})
    assert contract.training_data.startswith("mean of the weights of 2: 2 x some/train.csv")
    with pytest.raises(CheckpointError, match="not of one architecture: join them by `ensemble`"):
        average_checkpoints(members, tmp_path / "no.safetensors")  # the third is wider
    with pytest.raises(CheckpointError, match="give two or more"):
        average_checkpoints(members[:1], tmp_path / "no.safetensors")


def test_its_confidence_is_scaled_like_any_other(members, tmp_path):
    joined = join_checkpoints(members, tmp_path / "quality.safetensors")
    rescale_checkpoint(joined, 1.5, tmp_path / "wider.safetensors")
    rescale_checkpoint(tmp_path / "wider.safetensors", 2.0, tmp_path / "widest.safetensors")
    (before_m, before), (after_m, after) = answers([joined]), answers([tmp_path / "widest.safetensors"])
    np.testing.assert_array_equal(after_m, before_m)
    np.testing.assert_allclose(after, 3 * before, rtol=1e-5)


def test_members_may_normalise_each_their_own_way(members, tmp_path):
    """Each does it in its part of the graph; the contract's mean and std are a record."""
    network, contract = load_checkpoint(members[0])
    other = dataclasses.replace(contract.input, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert other != contract.input
    save_checkpoint(network, dataclasses.replace(contract, input=other), tmp_path / "other.safetensors")
    joined = join_checkpoints([members[0], tmp_path / "other.safetensors"], tmp_path / "both.safetensors")
    given = load_checkpoint(joined)[1].input
    assert (given.mean, given.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    alike = load_checkpoint(join_checkpoints(members[:2], tmp_path / "alike.safetensors"))[1]
    assert alike.input.mean == contract.input.mean


def test_without_a_confidence_in_every_member_there_is_none(members, tmp_path):
    silent = [write_member(tmp_path / f"silent{n}.safetensors", n, confidence=False) for n in range(2)]
    joined = join_checkpoints(silent, tmp_path / "quality.safetensors")
    network, contract = load_checkpoint(joined)
    assert len(network(torch.rand(1, 3, 64, 96))) == len(contract.output.names) == 1
    with pytest.raises(CalibrationError, match="every member needs one"):
        scale_sigma(network, 2.0)
    mixed = NetworkEnsemble([load_checkpoint(path)[0] for path in (members[0], silent[0])])
    assert len(mixed(torch.rand(1, 3, 64, 96))) == 1
    with pytest.raises(CheckpointError, match="differ in input, output or training camera"):
        join_checkpoints([members[0], silent[0]], tmp_path / "no.safetensors")


def test_what_does_not_go_together_is_refused(members, tmp_path):
    output = tmp_path / "no.safetensors"
    with pytest.raises(CheckpointError, match="give two or more"):
        join_checkpoints(members[:1], output)
    with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
        join_checkpoints(members, tmp_path / "no.onnx")
    other = DataConfig(pairs="some/train.csv", native_height=120, native_width=160)
    other = dataclasses.replace(other, fx=1.2 * other.fx)
    with pytest.raises(CheckpointError, match="training camera"):
        join_checkpoints([members[0], write_member(tmp_path / "other.safetensors", 5, data=other)], output)
    joined = join_checkpoints(members, tmp_path / "quality.safetensors")
    with pytest.raises(CheckpointError, match="an ensemble already: give its members"):
        join_checkpoints([members[0], joined], output)
    assert not output.exists()
    with pytest.raises(ConfigError, match="ensemble of 3 networks: give --init one of its members"):
        resolve_config(None, ["data.pairs=none"], str(joined))
