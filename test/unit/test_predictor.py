"""Exact tensors through the whole path: ONNX graphs small enough to know by heart, from the file to metres."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.inference import (
    BackendError,
    InferenceError,
    ModelContract,
    ModelFileError,
    Prediction,
    Predictor,
    choose_network_size,
    load_predictor,
)
from depth_estimation_ros.inference.model_file import CONTRACT_KEY
from depth_estimation_ros.inference.onnx_backend import open_session

onnx = pytest.importorskip("onnx", reason="models for the tests are built with onnx, of the train extra")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

FLOAT, FLOAT16, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def contract_document(taken: dict | None = None, **given_keys) -> dict:
    return {
        "format_version": 1,
        "name": "test",
        "encoder": "",
        "decoder": "",
        "licence": "",
        "git_revision": "",
        "training_data": "",
        "metrics": {},
        "training_fx": 250.0,
        "training_fy": 250.0,
        "input": {
            "name": "image",
            "layout": "NCHW",
            "colour_order": "RGB",
            "dtype": "float32",
            "range": [0, 255],
            "normalisation": "none",
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
            "resize_filter": "area",
            "native_height": 24,
            "native_width": 32,
            "size_multiple": 2,
            "size_least": 2,
            "size_most": 1024,
        }
        | given_keys,
        "output": {
            "name": "depth",
            "stride": 1,
            "quantity": "z_depth",
            "unit": "m",
            "least_depth_m": 1,
            "greatest_depth_m": 250,
        }
        | (taken or {}),
    }


def write_model(
    path: Path,
    nodes: list,
    document: dict,
    constants: dict | None = None,
    input_type: int = FLOAT,
    output_type: int = FLOAT,
    outputs: tuple[str, ...] = ("depth",),
    shape: tuple = (1, 3, "h", "w"),
) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", input_type, shape)],
        [helper.make_tensor_value_info(name, output_type, [1, 1, None, None]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(network, {CONTRACT_KEY: json.dumps(document)})
    onnx.save(network, path)
    return path


def channel(index: int, output: str = "depth", source: str = "image") -> tuple[list, dict]:
    """A graph that answers with one of its input's channels."""
    names = [f"{output}_{part}" for part in ("start", "end", "axis")]
    constants = dict(zip(names, (np.array([index]), np.array([index + 1]), np.array([1])), strict=True))
    return [helper.make_node("Slice", [source, *names], [output])], constants


def load_channel(tmp_path: Path, index: int, taken: dict | None = None, **given_keys) -> Predictor:
    nodes, constants = channel(index)
    path = write_model(tmp_path / "m.onnx", nodes, contract_document(taken, **given_keys), constants)
    return load_predictor(path, device="cpu")


IMAGE = np.random.default_rng(1).integers(1, 250, (6, 8, 3), np.uint8)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("colour_order", ["RGB", "BGR"])
def test_the_channels_arrive_in_the_contracts_order(tmp_path, index, colour_order):
    predictor = load_channel(tmp_path, index, colour_order=colour_order)
    expected = IMAGE[:, :, index if colour_order == "RGB" else 2 - index]
    prediction = predictor.predict(IMAGE)
    assert prediction.depth_m.dtype == np.float32
    np.testing.assert_array_equal(prediction.depth_m, expected.astype(np.float32))
    assert prediction.log_depth_sigma is None


@pytest.mark.parametrize("who", ["graph", "runtime"])
def test_mean_and_deviation_are_applied_exactly_once(tmp_path, who):
    """Normalised twice, or not at all, no pixel has this value."""
    mean, std = [10.0, 20.0, 30.0], [0.5, 0.25, 0.125]
    select, constants = channel(1, source="normalised" if who == "graph" else "image")
    nodes = select
    if who == "graph":
        nodes = [
            helper.make_node("Sub", ["image", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "std"], ["normalised"]),
            *select,
        ]
        constants |= {
            "mean": np.float32(mean).reshape(1, 3, 1, 1),
            "std": np.float32(std).reshape(1, 3, 1, 1),
        }
    document = contract_document({"greatest_depth_m": 2000}, normalisation=who, mean=mean, std=std)
    predictor = load_predictor(write_model(tmp_path / "m.onnx", nodes, document, constants), device="cpu")
    expected = np.clip((IMAGE[:, :, 1].astype(np.float32) - 20) / 0.25, 1, 2000)
    np.testing.assert_array_equal(predictor.predict(IMAGE).depth_m, expected)


def test_the_range_is_the_contracts(tmp_path):
    predictor = load_channel(tmp_path, 0, {"least_depth_m": 1e-6, "scale": 1, "offset": 1}, range=[-1, 1])
    expected = IMAGE[:, :, 0] / 255 * 2
    np.testing.assert_allclose(predictor.predict(IMAGE).depth_m, expected, rtol=1e-5)


def test_depth_is_clipped_before_the_focal_correction(tmp_path):
    predictor = load_channel(tmp_path, 0, {"least_depth_m": 40, "greatest_depth_m": 100})
    expected = np.clip(IMAGE[:, :, 0].astype(np.float32), 40, 100) * np.float32(1.5)
    np.testing.assert_array_equal(predictor.predict(IMAGE, focal_ratio=1.5).depth_m, expected)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), 1e-4])
def test_a_focal_ratio_that_cannot_be_is_refused(tmp_path, ratio):
    with pytest.raises(ValueError, match="focal ratio"):
        load_channel(tmp_path, 0).predict(IMAGE, focal_ratio=ratio)


def test_scale_and_offset_make_metres_of_raw_values(tmp_path):
    predictor = load_channel(tmp_path, 2, {"scale": 0.5, "offset": 3})
    np.testing.assert_array_equal(predictor.predict(IMAGE).depth_m, IMAGE[:, :, 2].astype(np.float32) * 0.5 + 3)


def test_inverse_depth_becomes_depth_and_its_zero_the_greatest(tmp_path):
    """Value v of the byte stands for (v - 50) / 100 per metre."""
    taken = {
        "quantity": "inverse_z_depth",
        "unit": "1/m",
        "scale": 0.01,
        "offset": -0.5,
        "least_depth_m": 0.8,
        "greatest_depth_m": 10,
    }
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, :, 0] = [0, 50, 55, 60]
    image[1, :, 0] = [100, 150, 250, 255]
    expected = np.float32([[10, 10, 10, 10], [2, 1, 0.8, 0.8]])
    depth_m = load_channel(tmp_path, 0, taken).predict(image).depth_m
    np.testing.assert_allclose(depth_m, expected, rtol=1e-5)
    assert depth_m.min() >= np.float32(0.8)
    assert depth_m.max() <= 10


def bilinear(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Upsampling with half-pixel centres and repeated borders, as two matrices."""

    def matrix(fine: int, coarse: int) -> np.ndarray:
        centres = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
        return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(coarse)))

    return matrix(height, plane.shape[0]) @ plane @ matrix(width, plane.shape[1]).T


def test_a_stride_is_upsampled_bilinearly_and_the_confidence_with_it(tmp_path):
    select_depth, constants = channel(0, "depth", "small")
    select_sigma, more = channel(1, "sigma", "small")
    pool = helper.make_node("AveragePool", ["image"], ["small"], kernel_shape=[2, 2], strides=[2, 2])
    taken = {"stride": 2, "confidence_name": "sigma", "confidence_meaning": "log_depth_sigma", "greatest_depth_m": 1e4}
    path = write_model(
        tmp_path / "m.onnx",
        [pool, *select_depth, *select_sigma],
        contract_document(taken),
        constants | more,
        outputs=("depth", "sigma"),
    )
    prediction = load_predictor(path, device="cpu").predict(IMAGE, focal_ratio=2.0)
    small = IMAGE.astype(float).reshape(3, 2, 4, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(prediction.depth_m, 2 * bilinear(small[:, :, 0], 6, 8), rtol=1e-5)
    assert prediction.log_depth_sigma is not None
    np.testing.assert_allclose(prediction.log_depth_sigma, bilinear(small[:, :, 1], 6, 8), rtol=1e-5)
    assert prediction.log_depth_sigma.dtype == np.float32


def test_weights_stored_as_float16_run(tmp_path):
    """The weights (0.25, 0.5, 2) are exact in float16: so is their sum over the channels."""
    nodes = [
        helper.make_node("Cast", ["weights16"], ["weights"], to=FLOAT),
        helper.make_node("Conv", ["image", "weights"], ["depth"]),
    ]
    constants = {"weights16": np.float16([0.25, 0.5, 2]).reshape(1, 3, 1, 1)}
    document = contract_document({"greatest_depth_m": 1e4})
    path = write_model(tmp_path / "m.onnx", nodes, document, constants)
    expected = (IMAGE.astype(np.float32) * np.float32([0.25, 0.5, 2])).sum(axis=2)
    np.testing.assert_array_equal(load_predictor(path, device="cpu").predict(IMAGE).depth_m, expected)


@pytest.mark.parametrize(("dtype", "graph_type"), [("float16", FLOAT16), ("uint8", UINT8)])
def test_networks_of_another_input_dtype_run(tmp_path, dtype, graph_type):
    nodes, constants = channel(1)
    document = contract_document(dtype=dtype)
    path = write_model(tmp_path / "m.onnx", nodes, document, constants, input_type=graph_type, output_type=graph_type)
    prediction = load_predictor(path, device="cpu").predict(IMAGE)
    assert prediction.depth_m.dtype == np.float32
    np.testing.assert_array_equal(prediction.depth_m, IMAGE[:, :, 1].astype(np.float32))


def test_a_frame_with_values_that_are_not_finite_is_refused_and_the_next_one_runs(tmp_path):
    """1 / byte: two black pixels are two infinities."""
    select, constants = channel(0, source="inverse")
    nodes = [helper.make_node("Reciprocal", ["image"], ["inverse"]), *select]
    document = contract_document({"least_depth_m": 1e-3})
    predictor = load_predictor(write_model(tmp_path / "m.onnx", nodes, document, constants), device="cpu")
    dark = IMAGE.copy()
    dark[0, :2, 0] = 0
    with pytest.raises(InferenceError, match="2 of 48 pixels of output 'depth' are not finite"):
        predictor.predict(dark)
    np.testing.assert_allclose(predictor.predict(IMAGE).depth_m, 1 / IMAGE[:, :, 0].astype(float), rtol=1e-5)


def test_a_stride_that_is_not_the_graphs_is_found_by_the_warm_up(tmp_path):
    with pytest.raises(InferenceError, match=r"output\.stride"):
        load_channel(tmp_path, 0, {"stride": 2}).warm_up(24, 32)


def test_a_warm_up_runs_at_any_size(tmp_path):
    predictor = load_channel(tmp_path, 0)
    predictor.warm_up(24, 32)
    predictor.warm_up(7, 5)


def test_a_size_is_warmed_up_once():
    ran_at = []

    class Counting(Double):
        def __call__(self, tensor):
            ran_at.append(tensor.shape[2:])
            return {"depth": np.ones(tensor.shape[2:], np.float32)}

    contract = ModelContract.from_json(json.dumps(contract_document()), "a test")
    predictor = Predictor(contract, Counting(np.ones((6, 8))))
    sizes = [(6, 8), (12, 16), (6, 8), (12, 16)]
    assert [predictor.warm_up(*size) for size in sizes] == [True, True, False, False]
    assert ran_at == sizes[:2]


def test_a_size_made_ready_answers_as_before_and_other_sizes_run_on():
    predictor = load_predictor("default", device="cpu")
    sizes = [(240, 320), (192, 256), (120, 216)]
    images = [np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8) for index, size in enumerate(sizes)]
    before = [predictor.predict(image) for image in images]
    for size in sizes[:2]:
        predictor.warm_up(*size)
    for image, expected in zip(images, before, strict=True):
        found = predictor.predict(image)
        np.testing.assert_allclose(found.depth_m, expected.depth_m, rtol=1e-4)
        np.testing.assert_allclose(found.log_depth_sigma, expected.log_depth_sigma, rtol=1e-4)


def test_a_file_that_is_replaced_after_it_was_opened_changes_nothing(tmp_path):
    predictor = load_channel(tmp_path, 0)
    load_channel(tmp_path, 1)  # in its place
    predictor.warm_up(6, 8)
    np.testing.assert_allclose(predictor.predict(IMAGE).depth_m, IMAGE[:, :, 0])


def test_a_graph_can_be_opened_for_one_size_alone(model_path):
    height, width = open_session(model_path, "cpu", 1).get_inputs()[0].shape[2:]
    session = open_session(model_path, "cpu", 1, {height: 240, width: 320})
    assert session.get_inputs()[0].shape == [1, 3, 240, 320]


def test_more_sizes_than_are_kept_ready_all_answer(tmp_path):
    predictor = load_channel(tmp_path, 1)
    images = [np.full((6, 8 + index, 3), 50 + index, np.uint8) for index in range(20)]
    for image in images:
        predictor.warm_up(*image.shape[:2])
    for image in images:
        np.testing.assert_allclose(predictor.predict(image).depth_m, image[:, :, 1])


@pytest.mark.parametrize("shape", [(1, 3, "side", "side"), ("n", 3, "h", "w"), (1, 3, None, None)])
def test_a_graph_whose_sides_have_other_names_or_none_is_warmed_up_too(tmp_path, shape):
    nodes, constants = channel(1)
    path = write_model(tmp_path / "m.onnx", nodes, contract_document(), constants, shape=shape)
    predictor = load_predictor(path, device="cpu")
    predictor.warm_up(6, 8)
    np.testing.assert_allclose(predictor.predict(IMAGE).depth_m, IMAGE[:, :, 1])


@pytest.mark.parametrize("image", [IMAGE[:, :, 0], IMAGE.astype(np.float32)])
def test_what_is_no_image_is_refused(tmp_path, image):
    with pytest.raises(ValueError, match="RGB image"):
        load_channel(tmp_path, 0).predict(image)


def test_a_graph_of_one_size_is_honoured_and_another_size_is_one_sentence(tmp_path):
    nodes, constants = channel(0)
    path = write_model(tmp_path / "m.onnx", nodes, contract_document(), constants, shape=(1, 3, 6, 8))
    predictor = load_predictor(path, device="cpu")
    assert choose_network_size(predictor.contract, 480, 640, 300.0, None) == (6, 8)
    predictor.warm_up(6, 8)
    with pytest.raises(InferenceError, match=r"\(1, 3, 8, 8\)") as caught:
        predictor.warm_up(8, 8)
    assert "\n" not in str(caught.value)


class Double:
    """A backend that answers with a plane of the test's choice."""

    name = "double"
    device = "cpu"

    def __init__(self, plane: np.ndarray):
        self.plane = plane

    def prepare(self, height: int, width: int) -> None:
        pass

    def __call__(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        return {"depth": self.plane}


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.integers(1, 4),
    magnitude=st.floats(1e-3, 1e30),
    ratio=st.floats(1e-3, 1e3),
    quantity=st.sampled_from([("z_depth", "m"), ("inverse_z_depth", "1/m")]),
    leading=st.sampled_from([(), (1,), (1, 1)]),
)
def test_depth_is_finite_positive_and_in_range_whatever_the_network_says(
    seed, size, stride, magnitude, ratio, quantity, leading
):
    rows, columns = (-(-side // stride) for side in size)
    plane = np.float32(np.random.default_rng(seed).normal(0, magnitude, (*leading, rows, columns)))
    taken = {"stride": stride, "quantity": quantity[0], "unit": quantity[1], "least_depth_m": 0.1}
    contract = ModelContract.from_json(json.dumps(contract_document(taken)), "the test")
    prediction = Predictor(contract, Double(plane)).predict(np.zeros((*size, 3), np.uint8), ratio)
    assert isinstance(prediction, Prediction)
    assert prediction.depth_m.shape == size
    assert prediction.depth_m.dtype == np.float32
    assert np.isfinite(prediction.depth_m).all()
    assert prediction.depth_m.min() >= 0.1 * ratio * (1 - 1e-5)
    assert prediction.depth_m.max() <= 250 * ratio * (1 + 1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 6, 8), (1, 2, 6, 8), (6, 8, 1), (48,), ()])
def test_an_output_that_is_no_plane_is_refused(shape):
    contract = ModelContract.from_json(json.dumps(contract_document()), "the test")
    with pytest.raises(InferenceError, match="has shape"):
        Predictor(contract, Double(np.ones(shape, np.float32))).predict(IMAGE)


# Devices and backends


@pytest.fixture
def model_path(tmp_path) -> Path:
    nodes, constants = channel(0)
    return write_model(tmp_path / "m.onnx", nodes, contract_document(), constants)


without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="says what happens where there is no CUDA"
)


@without_cuda
def test_auto_falls_back_to_the_cpu_with_one_logged_line(model_path, caplog):
    with caplog.at_level(logging.INFO, logger="depth_estimation_ros"):
        predictor = load_predictor(model_path)
    assert (predictor.device, predictor.backend_name) == ("cpu", "onnxruntime")
    assert [record.getMessage() for record in caplog.records] == [
        "onnxruntime finds no CUDA device: model test runs on the CPU"
    ]


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_that_is_not_there_is_refused_with_a_remedy(model_path, device):
    with pytest.raises(BackendError, match=f"'{device}' is not to be had .* install onnxruntime-gpu"):
        load_predictor(model_path, device=device)


@without_cuda
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_leaves_cuda_out_in_silence_is_found_out(model_path, monkeypatch):
    """The runtime claims CUDA, as a build without its libraries does; the session it opens has the CPU only."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert load_predictor(model_path, device="auto").device == "cpu"
    with pytest.raises(BackendError, match="could not be loaded"):
        load_predictor(model_path, device="cuda")


def test_a_cuda_provider_that_fails_aloud_falls_back_too(model_path, monkeypatch):
    opened = onnxruntime.InferenceSession

    def open_on_cpu_only(path, options, providers, **kwargs):
        if providers != ["CPUExecutionProvider"]:
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected\nat a line of C++")
        return opened(path, options, providers=providers, **kwargs)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_on_cpu_only)
    assert load_predictor(model_path, device="auto").device == "cpu"
    with pytest.raises(BackendError, match="no CUDA-capable device") as caught:
        load_predictor(model_path, device="cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:", "cuda:x", "", "cuda:-1", "cpu\n"])
def test_an_unknown_device_is_refused(model_path, device):
    with pytest.raises(BackendError, match="use auto, cpu, cuda or cuda:N"):
        load_predictor(model_path, device=device)


def test_an_unknown_backend_is_refused(model_path):
    with pytest.raises(BackendError, match="auto, onnxruntime, torch"):
        load_predictor(model_path, backend="tensorrt")


def test_a_negative_number_of_threads_is_refused(model_path):
    with pytest.raises(BackendError, match="num_threads"):
        load_predictor(model_path, num_threads=-1)


def test_the_torch_backend_wants_a_program(model_path):
    with pytest.raises(BackendError, match=r"needs a \.pt2 program"):
        load_predictor(model_path, backend="torch")


def test_onnxruntime_wants_an_onnx_file(tmp_path):
    (tmp_path / "m.pt2").write_bytes(b"PK")
    with pytest.raises(BackendError, match=r"give the \.onnx file"):
        load_predictor(tmp_path / "m.pt2", backend="onnxruntime")


def test_a_broken_file_is_a_model_file_error_here_too(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x01 nothing of the kind")
    with pytest.raises(ModelFileError, match="truncated"):
        load_predictor(tmp_path / "m.onnx")


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_the_number_of_threads_reaches_the_session(model_path, num_threads):
    session = open_session(model_path, "cpu", num_threads)
    assert session.get_session_options().intra_op_num_threads == num_threads


def test_onnxruntime_itself_says_nothing(tmp_path, capfd):
    nodes, constants = channel(0)
    path = write_model(tmp_path / "m.onnx", nodes, contract_document(), constants, shape=(1, 3, 6, 8))
    predictor = load_predictor(path)
    with pytest.raises(InferenceError):
        predictor.warm_up(8, 8)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelFileError):
        load_predictor(path)
    assert capfd.readouterr() == ("", "")


def test_neither_torch_nor_ros_is_imported(model_path):
    script = (
        "import sys\n"
        "from depth_estimation_ros.inference import load_predictor\n"
        "load_predictor(sys.argv[1], device='cpu').warm_up(24, 32)\n"
        "print([name for name in ('torch', 'rclpy', 'sensor_msgs', 'depth_training') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(model_path)],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert run.stdout.strip() == "[]"
