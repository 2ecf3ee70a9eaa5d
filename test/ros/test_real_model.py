"""A network of known weights through the whole path: file, runtime, node, topics."""

from __future__ import annotations

import json

import numpy as np
import pytest
from robot_harness import Camera, depth_of
from sensor_msgs.msg import Image

onnx = pytest.importorskip("onnx", reason="needs the train extra")

WEIGHTS = np.array([3.0, 0.5, 0.02], np.float32)  # metres per full red, green and blue


def write_model(path) -> None:
    """A 1x1 convolution with a contract: depth is WEIGHTS . rgb + 1."""
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, 3, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["depth"])],
        "exact",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, "height", "width"])],
        [
            numpy_helper.from_array(WEIGHTS.reshape(1, 3, 1, 1), "weight"),
            numpy_helper.from_array(np.ones(1, np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    contract = {
        "format_version": 1,
        "name": "exact",
        "encoder": "",
        "decoder": "",
        "licence": "",
        "git_revision": "",
        "training_data": "",
        "metrics": {},
        "training_fx": 100.0,
        "training_fy": 100.0,
        "input": {
            "name": "image",
            "layout": "NCHW",
            "colour_order": "RGB",
            "dtype": "float32",
            "range": [0, 1],
            "normalisation": "none",
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
            "resize_filter": "area",
            "native_height": 120,
            "native_width": 160,
            "size_multiple": 8,
            "size_least": 120,
            "size_most": 160,
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
    entry = model.metadata_props.add()
    entry.key, entry.value = "depth_estimation_ros.contract", json.dumps(contract)
    onnx.save(model, path)


def test_an_onnx_file_gives_the_depth_its_weights_say(robot, tmp_path):
    path = tmp_path / "exact.onnx"
    write_model(path)
    depths = robot.listen(Image, "/depth/image_rect")
    node = robot.start("real", parameters={"model": path, "device": "cpu", "num_threads": 1})
    camera = Camera(robot)
    camera.connect(depths)
    image = camera.image()
    rgb = np.random.default_rng(3).integers(0, 256, (*camera.size, 3), dtype=np.uint8)
    image.data[:] = type(image.data)("B", rgb.tobytes())
    camera.images.publish(image)
    robot.wait_until(lambda: depths, "depth")
    focal_ratio = camera.k[0] / 100.0
    expected_m = (rgb / 255 @ WEIGHTS + 1) * focal_ratio
    np.testing.assert_allclose(depth_of(depths[0]), expected_m, rtol=1e-5)
    robot.wait_until(lambda: robot.value("focal ratio") == "1.3000", "diagnostics after that frame")
    values = robot.values
    assert (values["model"], values["device"], values["backend"]) == ("exact", "cpu", "onnxruntime")
    assert values["network size"] == "160x120"
    assert node.popen.poll() is None
