"""Every way in which a model file can be wrong comes out as one sentence, as does every way a contract can."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.inference import model_file
from depth_estimation_ros.inference.errors import BackendError
from depth_estimation_ros.inference.model_file import (
    CONTRACT_KEY,
    ModelContract,
    ModelFileError,
    read_contract,
    resolve_model,
)

onnx = pytest.importorskip("onnx", reason="models for the tests are built with onnx, of the train extra")
helper, TensorProto = onnx.helper, onnx.TensorProto

DOCUMENT = {
    "format_version": 1,
    "name": "test",
    "encoder": "none",
    "decoder": "none",
    "licence": "Apache-2.0",
    "git_revision": "unknown",
    "training_data": "none",
    "metrics": {"abs_rel": 0.2, "protocol": "test"},
    "training_fx": 250.0,
    "training_fy": 251.0,
    "input": {
        "name": "image",
        "layout": "NCHW",
        "colour_order": "RGB",
        "dtype": "float32",
        "range": [0, 1],
        "normalisation": "graph",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "resize_filter": "area",
        "native_height": 240,
        "native_width": 320,
        "size_multiple": 2,
        "size_least": 64,
        "size_most": 1024,
    },
    "output": {
        "name": "depth",
        "stride": 1,
        "quantity": "z_depth",
        "unit": "m",
        "least_depth_m": 0.1,
        "greatest_depth_m": 10,
    },
}


def changed(key: str, value) -> dict:
    document = copy.deepcopy(DOCUMENT)
    *path, last = key.split(".")
    inner = document
    for part in path:
        inner = inner[part]
    inner[last] = value
    return document


def without(*keys: str) -> dict:
    document = copy.deepcopy(DOCUMENT)
    for key in keys:
        *path, last = key.split(".")
        inner = document
        for part in path:
            inner = inner[part]
        del inner[last]
    return document


def write_onnx(path: Path, document: dict | str | None, shape=(1, 3, "h", "w"), dtype=TensorProto.FLOAT) -> Path:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image"], ["depth"], axes=[1], keepdims=1)],
        "mean",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info("depth", dtype, [shape[0], 1, *shape[2:]])],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if document is not None:
        text = document if isinstance(document, str) else json.dumps(document)
        helper.set_model_props(network, {CONTRACT_KEY: text})
    onnx.save(network, path)
    return path


def refusal(call, *args) -> str:
    """The one sentence of a refusal."""
    with pytest.raises(ModelFileError) as caught:
        call(*args)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def parse(document: dict) -> ModelContract:
    return ModelContract.from_json(json.dumps(document), "the test")


# The contract as JSON


def test_a_contract_survives_json():
    contract = parse(DOCUMENT)
    assert contract.input.range == (0.0, 1.0)
    assert contract.output.scale == 1.0
    assert contract.output.confidence_name is None
    assert contract.training_fy == 251.0
    assert ModelContract.from_json(contract.to_json(), "again") == contract


def test_all_that_is_missing_is_named_at_once():
    sentence = refusal(parse, without("name", "input.mean", "output.stride", "training_fx"))
    for key in ("name", "input.mean", "output.stride", "training_fx"):
        assert key in sentence


def test_every_key_is_needed_unless_it_has_a_default():
    for section, keys in (("", DOCUMENT), ("input.", DOCUMENT["input"]), ("output.", DOCUMENT["output"])):
        for key in keys:
            assert f"missing keys: {section}{key}" in refusal(parse, without(section + key))


@pytest.mark.parametrize("key", ["colour", "input.colour", "output.colour", "input.fixed_size"])
def test_an_unknown_key_is_refused(key):
    assert f"unknown keys: {key}" in refusal(parse, changed(key, 1))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", 3),
        ("metrics", [1]),
        ("metrics", {"abs_rel": 0.1}),
        ("training_fx", 0),
        ("input", []),
        ("input.layout", "NHWC"),
        ("input.colour_order", "rgb"),
        ("input.dtype", "float64"),
        ("input.range", [1, 0]),
        ("input.range", [0, 1, 2]),
        ("input.mean", [0.5]),
        ("input.std", [1, 0, 1]),
        ("input.normalisation", "both"),
        ("input.resize_filter", "nearest"),
        ("input.native_height", 240.5),
        ("input.size_multiple", 0),
        ("input.size_multiple", True),
        ("input.zoom_range", [1.1, 1.6]),
        ("input.zoom_range", [0.0, 1.6]),
        ("input.zoom_range", 1.6),
        ("input.size_most", 10**400),
        ("output.quantity", "disparity"),
        ("output.unit", "ft"),
        ("output.scale", "1"),
        ("output.least_depth_m", 0),
        ("output.greatest_depth_m", 10**400),
        ("output.confidence_meaning", "variance"),
        ("output.confidence_name", ""),
    ],
)
def test_a_wrong_value_is_refused_by_name(key, value):
    sentence = refusal(parse, changed(key, value))
    assert f"{key} " in sentence
    assert "must be" in sentence
    assert len(sentence) < 400


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("output.unit", "1/m", "output.unit"),
        ("output.quantity", "inverse_z_depth", "output.unit"),
        ("output.least_depth_m", 20, "greatest_depth_m"),
        ("output.scale", 0, "output.scale"),
        ("output.confidence_name", "sigma", "confidence_meaning"),
        ("input.size_least", 2000, "size_most"),
        ("input.dtype", "uint8", "input.range"),
        ("input.normalisation", "none", "nobody applies them"),
        ("training_fx", None, "training_fy"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(key, value, rule):
    assert rule in refusal(parse, changed(key, value))


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.0])
def test_another_format_version_is_refused_before_anything_else(version):
    sentence = refusal(parse, changed("format_version", version) | {"novelty": 1})
    assert f"format_version {version!r}" in sentence
    assert "novelty" not in sentence


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "NaN", "[" * 100_000, '{"format_version": NaN}'])
def test_what_is_no_json_object_is_refused(text):
    assert refusal(ModelContract.from_json, text, "the sidecar").startswith("the sidecar")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_no_json_value_anywhere_gives_another_error(value):
    for key in ("name", "metrics", "training_fx", "input", "input.range", "input.native_height", "output.scale"):
        with contextlib.suppress(ModelFileError):
            ModelContract.from_json(json.dumps(changed(key, value)), "the test")


def test_a_contract_that_would_be_refused_is_never_written():
    contract = parse(DOCUMENT)
    wrong = ModelContract(**(vars(contract) | {"training_fx": -1.0}))
    assert "training_fx" in refusal(wrong.to_json)
    unwritable = ModelContract(**(vars(contract) | {"metrics": {"abs_rel": float("nan"), "protocol": "test"}}))
    assert "metrics" in refusal(unwritable.to_json)


# ONNX files


def test_the_embedded_contract_is_read(tmp_path):
    assert read_contract(write_onnx(tmp_path / "m.onnx", DOCUMENT)) == parse(DOCUMENT)


@pytest.mark.parametrize("sidecar", ["m.onnx.json", "m.json"])
def test_a_third_partys_model_has_a_sidecar(tmp_path, sidecar):
    path = write_onnx(tmp_path / "m.onnx", None)
    document = changed("output", DOCUMENT["output"] | {"quantity": "inverse_z_depth", "unit": "1/m", "scale": 0.5})
    (tmp_path / sidecar).write_text("\ufeff" + json.dumps(document), encoding="utf-8")
    assert read_contract(path) == parse(document)


def test_the_embedded_contract_goes_before_a_sidecar_with_a_warning(tmp_path, caplog):
    path = write_onnx(tmp_path / "m.onnx", DOCUMENT)
    (tmp_path / "m.onnx.json").write_text(json.dumps(changed("name", "other")))
    with caplog.at_level(logging.WARNING):
        assert read_contract(path).name == "test"
    assert "m.onnx.json is ignored" in caplog.text


def test_a_broken_embedded_contract_is_not_replaced_by_a_sidecar(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", changed("format_version", 7))
    (tmp_path / "m.onnx.json").write_text(json.dumps(DOCUMENT))
    assert "format_version 7" in refusal(read_contract, path)


def test_no_contract_at_all_names_the_sidecar_to_write(tmp_path):
    sentence = refusal(read_contract, write_onnx(tmp_path / "m.onnx", None))
    assert "m.onnx.json" in sentence
    assert CONTRACT_KEY in sentence


def test_a_sidecar_that_is_no_text_is_refused(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", None)
    (tmp_path / "m.json").write_bytes(b"\xff\xfe\x00")
    assert "m.json" in refusal(read_contract, path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    whole = write_onnx(tmp_path / "whole.onnx", DOCUMENT).read_bytes()
    path = tmp_path / "m.onnx"
    for length in (*range(0, 200), *range(200, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(read_contract, path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.onnx", b"", "empty"),
        ("m.pt2", b"", "empty"),
        ("m.onnx", b"<!DOCTYPE html>\n<html>", "text file"),
        ("m.onnx", "modèle".encode(), "text file"),
        ("m.onnx", b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG"),
        ("m.onnx", b"\x80\x04\x95abc", "never unpickles"),
        ("m.onnx", b"PK\x03\x04" + bytes(50), "never unpickles"),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("m.onnx", bytes(range(256)), "truncated"),
        ("m.pth", b"\x80\x02", "never unpickles"),
        ("m.pt", b"PK\x03\x04", "never unpickles"),
        ("m.tflite", b"abc", ".tflite"),
        ("m", b"abc", "only .onnx and .pt2"),
        ("m.pt2", b"abc", "no torch.export program"),
        ("m.pt2", b"PK\x03\x04" + bytes(50), "no torch.export program"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    sentence = refusal(read_contract, path)
    assert words in sentence
    assert str(path) in sentence


@pytest.mark.parametrize("name", ["nothing.onnx", "nothing.pt2", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name):
    assert "cannot be read" in refusal(read_contract, tmp_path / name)


def test_names_that_the_graph_lacks_are_refused(tmp_path):
    sentence = refusal(read_contract, write_onnx(tmp_path / "m.onnx", changed("input.name", "pixels")))
    assert "'pixels'" in sentence
    assert "'image'" in sentence
    sentence = refusal(read_contract, write_onnx(tmp_path / "m.onnx", changed("output.name", "range")))
    assert "'range'" in sentence
    assert "'depth'" in sentence
    document = changed("output", DOCUMENT["output"] | {"confidence_name": "c", "confidence_meaning": "log_depth_sigma"})
    assert "'c'" in refusal(read_contract, write_onnx(tmp_path / "m.onnx", document))


@pytest.mark.parametrize("shape", [(1, 1, "h", "w"), (2, 3, "h", "w"), (1, "h", "w", 3), (1, 3, 240, "w"), (1, 3, "h")])
def test_a_graph_of_another_layout_is_refused(tmp_path, shape):
    assert "the graph takes" in refusal(read_contract, write_onnx(tmp_path / "m.onnx", DOCUMENT, shape))


def test_a_graph_of_another_dtype_is_refused(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", DOCUMENT, dtype=TensorProto.FLOAT16)
    assert "tensor(float16)" in refusal(read_contract, path)


@pytest.mark.parametrize(("shape", "fixed"), [((1, 3, 240, 320), (240, 320)), (("n", 3, "h", "w"), None)])
def test_the_one_size_that_a_graph_takes_is_noted(tmp_path, shape, fixed):
    contract = read_contract(write_onnx(tmp_path / "m.onnx", DOCUMENT, shape))
    assert contract.input.fixed_size == fixed
    assert "fixed_size" not in contract.to_json()


def test_weights_kept_in_a_file_that_is_not_there_are_refused(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", DOCUMENT)
    network = onnx.load(path)
    network.graph.node[0].output[0] = "mean"
    network.graph.node.append(helper.make_node("Mul", ["mean", "weights"], ["depth"]))
    network.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "weights"))
    onnx.save(network, path, save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    assert "m.onnx" in refusal(read_contract, path)


def test_without_onnxruntime_the_remedy_is_named(tmp_path, monkeypatch):
    path = write_onnx(tmp_path / "m.onnx", DOCUMENT)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        read_contract(path)


# .pt2 archives, read without torch


def write_pt2(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_program_carries_its_contract_as_an_extra_file(tmp_path):
    members = {"m/models/model.json": "{}", "m/extra/contract.json": json.dumps(DOCUMENT)}
    assert read_contract(write_pt2(tmp_path / "m.pt2", members)) == parse(DOCUMENT)


def test_a_program_without_a_contract_is_refused(tmp_path):
    assert "no model contract" in refusal(read_contract, write_pt2(tmp_path / "m.pt2", {"m/models/model.json": "{}"}))


@pytest.mark.parametrize(
    "member",
    [
        "m/data.pkl",
        "m/data/constants/custom_obj_0",
        "m/data/constants/opaque_obj_0",
        "m/data/constants/OPAQUE_OBJ_0",
        "m/data/aotinductor/model/model.so",
        "m/models/other.json",
        "m/extra/../data/constants/opaque_obj_0",
        "serialized_state_dict.pt",
    ],
)
def test_a_program_that_holds_more_than_data_is_refused(tmp_path, member):
    members = {"m/extra/contract.json": json.dumps(DOCUMENT), member: "x"}
    assert f"holds {member!r}" in refusal(read_contract, write_pt2(tmp_path / "m.pt2", members))


def test_a_program_with_a_flipped_bit_is_refused(tmp_path):
    path = write_pt2(tmp_path / "m.pt2", {"m/data/weights/weight_0": "W" * 100, "m/extra/contract.json": "{}"})
    content = bytearray(path.read_bytes())
    content[content.index(b"WWWW") + 10] ^= 1
    path.write_bytes(content)
    assert "damaged" in refusal(read_contract, path)


# Names


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("default.onnx", "small.onnx", "large.pt2"):
        (folder / name).write_bytes(b"x")
    monkeypatch.setattr(model_file, "_MODELS", folder)
    return folder


def test_bundled_names_and_paths_are_found(bundle, tmp_path):
    assert resolve_model("default") == bundle / "default.onnx" == model_file.default_model_path()
    assert resolve_model("large") == bundle / "large.pt2"
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"x")
    assert resolve_model(mine) == mine
    assert resolve_model(str(mine)) == mine


def test_a_bundled_name_goes_before_a_file_of_that_name(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").write_bytes(b"x")
    assert resolve_model("default") == bundle / "default.onnx"


def test_a_home_folder_is_expanded(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.onnx").write_bytes(b"x")
    assert resolve_model("~/mine.onnx") == tmp_path / "mine.onnx"


@pytest.mark.parametrize("model", ["tiny", "", "../models/default", "/no/such/file.onnx", "x" * 300, "a\0b"])
def test_an_unknown_model_lists_the_bundled_ones(bundle, model):
    assert "default, large, small" in refusal(resolve_model, model)


def test_a_folder_is_no_model(bundle, tmp_path):
    assert "is a folder" in refusal(resolve_model, tmp_path)


def test_the_training_focal_length_is_the_geometric_mean():
    contract = ModelContract.from_json(json.dumps(DOCUMENT), "test")
    assert contract.training_focal_px == pytest.approx((250.0 * 251.0) ** 0.5)
    unknown = changed("training_fx", None) | {"training_fy": None}
    assert ModelContract.from_json(json.dumps(unknown), "test").training_focal_px is None


@pytest.mark.parametrize(
    ("name", "abs_rel", "rmse_m", "delta1", "megabytes"),
    [("default", 0.157, 0.545, 0.785, 15), ("quality", 0.150, 0.525, 0.80, 30), ("frozen", 0.190, 0.62, 0.71, 15)],
)
def test_a_bundled_model_is_as_accurate_as_it_is_to_be(name, abs_rel, rmse_m, delta1, megabytes):
    """By what `evaluate` measured of this very network: on all test images, under the protocol of the README."""
    path = resolve_model(name)
    metrics = read_contract(path).metrics
    assert metrics["images"] == 327
    assert metrics["protocol"].startswith("nyu-eigen: 480x640, rows 45:471, columns 41:601")
    assert (metrics["abs_rel"] <= abs_rel, metrics["rmse"] <= rmse_m, metrics["delta1"] >= delta1) == (True,) * 3
    assert path.stat().st_size < megabytes * 1e6
