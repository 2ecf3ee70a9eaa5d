"""Exported models compared, counted and described: against PyTorch's own counter, closed forms and the contract."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from depth_estimation_ros.inference import ModelContract, ModelFileError, resolve_model  # noqa: E402
from depth_training.checkpoint import build_contract, load_checkpoint, save_checkpoint  # noqa: E402
from depth_training.config import DataConfig, NetworkConfig, TrainingConfig, save_config  # noqa: E402
from depth_training.evaluation import open_model  # noqa: E402
from depth_training.export import ExportError  # noqa: E402
from depth_training.model_files import parity  # noqa: E402
from depth_training.model_files.description import (  # noqa: E402
    DescriptionError,
    contract_rows,
    describe_model,
    describe_run,
)
from depth_training.model_files.model_card import model_card  # noqa: E402
from depth_training.model_files.parity import compare_models, export_compared, parity_sizes, refuse_beyond  # noqa: E402
from depth_training.model_files.work import count, onnx_multiply_adds, onnx_parameters  # noqa: E402
from depth_training.network.depth_network import DepthNetwork  # noqa: E402
from depth_training.network.split_norms import with_split_norms  # noqa: E402

METRICS = {
    "abs_rel": 0.1778,
    "delta1": 0.728,
    "interval95": {"abs_rel": [0.168, 0.188]},
    "images": 327,
    "protocol": "nyu-eigen: 480x640",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network whose depth differs from place to place, at 96x72, and its contract."""
    torch.manual_seed(0)
    network_config = NetworkConfig(widths=[16, 12, 8, 8], light_decoder=True, head="log_depth", confidence=True)
    config = TrainingConfig(
        name="small",
        network=network_config,
        data=DataConfig(pairs="some/train.csv", native_height=72, native_width=96, zoom=0.5, zoom_least=0.75),
    )
    network = DepthNetwork(network_config).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, 64, 64))
        network.head.conv.weight *= 5
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(network.eval(), build_contract(config, METRICS), path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """The checkpoint as ONNX, and how the two compare."""
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    return path, export_compared(checkpoint, path)


def test_an_export_is_compared_at_its_native_size_other_aspect_ratios_and_odd_sides(exported):
    path, found = exported
    sizes = {size.name: (size.height, size.width) for size in found}
    assert sizes["native"] == (72, 96)
    assert sizes["odd"] == (71, 93)
    assert sizes["portrait"][0] / sizes["portrait"][1] == pytest.approx(4 / 3, rel=0.05)
    assert sizes["16:9"][1] / sizes["16:9"][0] == pytest.approx(16 / 9, rel=0.05)
    assert sizes["square"][0] == sizes["square"][1]
    assert all(0 < size.percentile99 <= size.greatest < parity.BOUND for size in found)
    assert [file.name for file in path.parent.iterdir()] == ["small.onnx"]


def test_another_network_is_found_out_and_leaves_no_file(checkpoint, tmp_path, monkeypatch):
    """An export whose last bias moved by a tenth answers a tenth too far, and no file, old or new, is touched."""

    def export_wrongly(source, output, *_):
        network, contract = load_checkpoint(source)
        with torch.no_grad():
            network.head.conv.bias += 0.5
        return save_checkpoint(network, contract, output)

    monkeypatch.setattr(parity, "export_checkpoint", export_wrongly)
    with pytest.raises(ExportError, match=r"new\.safetensors answers otherwise.*no file was written"):
        export_compared(checkpoint, tmp_path / "new.safetensors")
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.safetensors"
    old.write_bytes(b"what was there")
    with pytest.raises(ExportError):
        export_compared(checkpoint, old)
    assert old.read_bytes() == b"what was there"


def test_a_difference_that_is_no_number_is_refused(tmp_path):
    broken = parity.SizeParity("native", 72, 96, float("nan"), 0.0)
    with pytest.raises(ExportError):
        refuse_beyond(parity.BOUND, [broken], tmp_path / "a.onnx")


def test_equal_models_do_not_differ(checkpoint):
    model = open_model(str(checkpoint), "cpu")
    assert {size.greatest for size in compare_models(model, model)} == {0.0}


def test_sizes_that_the_contract_does_not_allow_are_left_out(checkpoint):
    contract = load_checkpoint(checkpoint)[1]
    narrow = dataclasses.replace(contract, input=dataclasses.replace(contract.input, size_most=90, size_least=72))
    assert set(parity_sizes(narrow)) == {"square"}


def test_the_graph_is_counted_as_pytorch_counts_the_network(checkpoint, exported):
    model = onnx.load(exported[0])
    network, _ = load_checkpoint(checkpoint)
    for size in ((72, 96), (64, 80)):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, *size))
        assert onnx_multiply_adds(model, size) == counter.get_total_flops() // 2
    learnt = sum(parameter.numel() for parameter in with_split_norms(network).parameters())
    assert onnx_parameters(model) == pytest.approx(learnt, abs=12)  # mean and deviation of the input


def graph(nodes: list, weights: dict[str, np.ndarray], shape: list) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(helper.make_graph(nodes, "g", given, output, tensors), opset_imports=opset, ir_version=9)


def test_convolutions_and_products_are_counted_by_their_formulas():
    random = np.random.default_rng(0)
    weight = random.random((8, 3, 5, 5), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2])
    one = graph([node], {"w": weight}, [1, 3, "h", "w_"])
    assert onnx_multiply_adds(one, (25, 33)) == 11 * 15 * 8 * 3 * 25
    assert onnx_parameters(one) == 600
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    one = graph([node], {"w": random.random((3, 4, 2, 2), np.float32)}, [1, 3, "h", "w_"])
    assert onnx_multiply_adds(one, (6, 7)) == 6 * 7 * 3 * 4 * 4
    one = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": random.random((7, 11), np.float32)}, [1, 3, "h", 7]
    )
    assert onnx_multiply_adds(one, (6, 7)) == 3 * 6 * 7 * 11


def test_a_graph_that_does_not_run_at_a_size_is_not_counted():
    one = graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": np.ones((8, 4, 5, 5), np.float32)}, [1, 4, 9, 9])
    assert onnx_multiply_adds(one, (9, 9)) is None


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_a_description_says_all_that_the_contract_does(checkpoint, exported, kind):
    path = exported[0] if kind == "onnx" else checkpoint
    described = describe_model(str(path))
    assert described.problem == ""
    said = dict(described.rows)
    assert said["name"] == "small"
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert said["native size"] == "96x72"
    assert said["abs_rel"] == "0.1778 (0.1680 to 0.1880)"
    assert said["protocol"] == "nyu-eigen: 480x640"
    assert "GMAC at 96x72" in said["multiply-adds"]
    assert said["file size"] == f"{path.stat().st_size / 1e6:.2f} MB"
    assert ("CPUExecutionProvider" if kind == "onnx" else "cpu") in said["runs on"]


def values_of(document: dict) -> list:
    nested = (values_of(value) if isinstance(value, dict) else [value] for value in document.values())
    return [value for values in nested for value in values]


def test_no_value_of_the_contract_is_left_out(checkpoint):
    """Every string and number of the JSON document turns up in the table."""
    contract = load_checkpoint(checkpoint)[1]
    document = json.loads(contract.to_json())
    del document["metrics"]
    table = " ".join(value for _, value in contract_rows(contract))
    for value in values_of(document):
        items = value if isinstance(value, list) else [value]
        for item in items:
            if item in (None, 0.0, 1.0):  # no scale and no offset are not mentioned
                continue
            shown = (f"{item:.4g}", f"{item:.1f}", f"{item:g}") if isinstance(item, (int, float)) else (item,)
            assert any(text in table for text in shown), item


def test_a_file_without_a_contract_gets_the_list_of_what_is_missing(tmp_path):
    path = tmp_path / "theirs.onnx"
    onnx.save(graph([helper.make_node("Relu", ["x"], ["y"])], {}, [1, 3, 8, 8]), path)
    described = describe_model(str(path))
    assert described.contract is None
    fields = [field.name for field in dataclasses.fields(ModelContract) if field.name not in ("input", "output")]
    for key in [*fields, "input.mean", "output.quantity"]:
        assert key in described.problem
    assert dict(described.rows)["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_contract_that_lacks_keys_is_described_by_what_it_lacks(tmp_path, checkpoint):
    path = tmp_path / "theirs.onnx"
    onnx.save(graph([helper.make_node("Relu", ["x"], ["y"])], {}, [1, 3, 8, 8]), path)
    document = json.loads(load_checkpoint(checkpoint)[1].to_json())
    del document["licence"], document["input"]["mean"]
    (tmp_path / "theirs.onnx.json").write_text(json.dumps(document))
    assert "missing keys: licence, input.mean" in describe_model(str(path)).problem


def test_a_file_of_another_kind_is_no_model(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(DescriptionError, match=r"\.onnx, \.pt2, \.safetensors"):
        describe_model(str(tmp_path / "a.pth"))


def test_a_run_is_described_by_its_best_validation_and_its_settings(tmp_path):
    with pytest.raises(DescriptionError, match=r"config\.yaml"):
        describe_run(tmp_path)
    save_config(TrainingConfig(name="mine", data=DataConfig(pairs="a.csv")), tmp_path / "config.yaml")
    rows, settings = describe_run(tmp_path)
    assert dict(settings)["data.pairs"] == "a.csv"
    assert "not written yet" in dict(rows)["model"]
    for version, text in enumerate(["0,0.5,0.4\n1,0.3,0.6\n", "1,0.31,0.61\n2,0.35,0.59\n"]):
        folder = tmp_path / "logs" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch,val/abs_rel,val/delta1\n" + text)
    progress = dict(describe_run(tmp_path)[0])
    assert progress["epochs"] == "3 of 7"
    assert progress["best validation"] == "epoch 2: abs_rel 0.3100, delta1 0.6100"


def test_a_preset_that_is_asked_for_as_a_model_says_how_to_make_it():
    with pytest.raises(
        ModelFileError, match=r"--preset config/training/paper_squeezenet\.yaml .* RUN/model\.safetensors"
    ):
        open_model("paper_squeezenet")
    with pytest.raises(ModelFileError, match=r"bundled name \(default, frozen, quality\)$"):
        open_model("../training/paper_squeezenet")


def test_a_model_card_says_what_a_reader_asks(exported):
    path, found = exported
    card = model_card(path, describe_model(str(path)).contract, found)
    for text in ("# small", "some/train.csv", "Apache-2.0", "| abs_rel | 0.1778 | 0.1680 to 0.1880 |", "not recorded"):
        assert text in card
    for text in ("Protocol: nyu-eigen: 480x640", "327 images", "no safety sensor", "model:=/path/to/small.onnx"):
        assert text in card
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    assert f"{100 * found[0].greatest:.3f} %" in card
    assert "Nobody measured." in model_card(path, dataclasses.replace(load_contract(path), metrics={}))


def test_a_card_says_what_the_confidence_is_worth_and_how_depth_errs_near_and_far(exported):
    path, _ = exported
    contract = load_contract(path)
    bins = [
        {
            "from_m": 0.0,
            "to_m": 1.0,
            "share": 0.025,
            "abs_rel": 0.4,
            "rmse": 0.5,
            "delta1": 0.3,
            "bias": math.log(1.43),
        },
        {
            "from_m": 1.0,
            "to_m": None,
            "share": 0.975,
            "abs_rel": 0.1,
            "rmse": 0.6,
            "delta1": 0.8,
            "bias": math.log(0.8),
        },
    ]
    confidence = {"coverage_1_sigma": 0.653, "interval95": {"coverage_1_sigma": [0.63, 0.68]}, "farthest_rmse": 0.79}
    metrics = {**contract.metrics, "confidence": confidence, "depth_bins": bins}
    card = model_card(path, dataclasses.replace(contract, metrics=metrics))
    assert "| coverage_1_sigma | 0.6530 (0.6300 to 0.6800): share of errors within one sigma" in card
    assert "| farthest_rmse | 0.7900: " in card
    assert "| 0 to 1 | 2.5 % | 0.400 | 0.500 | 0.300 | 1.43 |" in card
    assert "| over 1 | 97.5 % | 0.100 | 0.600 | 0.800 | 0.80 |" in card


@pytest.mark.parametrize(
    ("name", "most_gmac", "most_parameters"), [("default", 2, 6e6), ("quality", 8, 20e6), ("frozen", 1, 6e6)]
)
def test_the_card_of_a_bundled_model_is_that_of_its_file(name, most_gmac, most_parameters):
    path = resolve_model(name)
    contract = load_contract(path)
    card = (Path(__file__).parents[2] / "docs" / "models" / f"{name}.md").read_text()
    assert card.startswith(model_card(path, contract).rstrip()), f"write docs/models/{name}.md anew, by `export`"
    parameters, work = count(path, contract.input.usual_size)
    assert parameters <= most_parameters
    assert work <= most_gmac * 1e9


def load_contract(path) -> ModelContract:
    contract = describe_model(str(path)).contract
    assert contract is not None
    return contract
