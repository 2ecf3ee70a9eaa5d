"""The real node, with a network double that knows the true depth. Started by the tests as a process of its own.

PLANE_NODE in the environment holds JSON:
    k, size      the camera's true pinhole and (H, W): depth is that of the plane below, at whatever size is asked for
    plane        [nx, ny, nz, distance]: n . P = distance
                 without these, depth is read from the pixels: red * 256 + green, in millimetres
    infer_s      seconds that one inference takes
    load_s       seconds that loading takes
    first_wait_s how long the first images wait for a CameraInfo
    own_wait_s   how long an image waits for its own
    gate         path of a file; inference waits until it exists, and makes gate.held when it begins to wait
    sigma        the standard deviation of log depth that the double claims, one or per column; without it, none
    refuses      [parameter, value] that a callback of somebody else's, asked after the node's own, allows nobody to set
    built        path of a file that gets a line with the topic of each message that is built
A frame whose first pixel is fully blue makes inference fail; a model called "missing" makes loading fail.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from depth_estimation_ros import camera_info_buffer, node_process, outputs
from depth_estimation_ros.inference import InferenceError, InputContract, ModelContract, ModelFileError, OutputContract
from depth_estimation_ros.inference.predictor import Prediction
from depth_estimation_ros.node import DepthNode

SETTINGS = json.loads(os.environ.get("PLANE_NODE", "{}"))

CONTRACT = ModelContract(
    format_version=1,
    name="plane double",
    encoder="",
    decoder="",
    licence="",
    git_revision="",
    training_data="",
    metrics={},
    input=InputContract(
        name="image",
        layout="NCHW",
        colour_order="RGB",
        dtype="uint8",
        range=(0, 255),
        normalisation="none",
        mean=(0, 0, 0),
        std=(1, 1, 1),
        resize_filter="area",
        native_height=120,
        native_width=160,
        size_multiple=8,
        size_least=32,
        size_most=1024,
    ),
    output=OutputContract(name="depth", stride=1, quantity="z_depth", unit="m", least_depth_m=0.1, greatest_depth_m=60),
    training_fx=130.0,
    training_fy=130.0,
)


class PlanePredictor:
    device = "cpu"
    backend_name = "double"
    contract = CONTRACT

    def __init__(self) -> None:
        self.warm_sizes: set[tuple[int, int]] = set()

    def warm_up(self, height: int, width: int) -> bool:
        is_new = (height, width) not in self.warm_sizes
        self.warm_sizes.add((height, width))
        if is_new:
            print(f"the double is warm at {height}x{width}", flush=True)
        return is_new

    def predict(self, image_rgb: np.ndarray, focal_ratio: float = 1.0) -> Prediction:
        if "gate" in SETTINGS and not (gate := Path(SETTINGS["gate"])).exists():
            gate.with_suffix(".held").touch()
            while not gate.exists():
                time.sleep(0.002)
        time.sleep(SETTINGS.get("infer_s", 0))
        if image_rgb[0, 0, 2] == 255:
            raise InferenceError("the double was told to fail on this frame")
        depth_m = plane_depth_m(*image_rgb.shape[:2]) if "plane" in SETTINGS else read_depth_m(image_rgb)
        sigma = np.full(depth_m.shape, SETTINGS["sigma"], np.float32) if "sigma" in SETTINGS else None
        return Prediction(depth_m.astype(np.float32), sigma)


def read_depth_m(image_rgb: np.ndarray) -> np.ndarray:
    return (image_rgb[..., 0] * 256.0 + image_rgb[..., 1]) / 1000


def plane_depth_m(height: int, width: int) -> np.ndarray:
    """The plane's true depth in the camera's picture shrunk to (height, width), pixel by pixel."""
    full_height, full_width = SETTINGS["size"]
    fx, fy, cx, cy = SETTINGS["k"]
    rows, columns = np.mgrid[:height, :width]
    x = ((columns + 0.5) * full_width / width - 0.5 - cx) / fx
    y = ((rows + 0.5) * full_height / height - 0.5 - cy) / fy
    nx, ny, nz, distance = SETTINGS["plane"]
    return distance / (nx * x + ny * y + nz)


def load(model: str, device: str, backend: str, num_threads: int) -> PlanePredictor:
    time.sleep(SETTINGS.get("load_s", 0))
    if model == "missing":
        raise ModelFileError("model 'missing' does not exist: name another")
    print("the double is loaded as", model, "on", device, flush=True)
    return PlanePredictor()


def recorded(output: outputs.Output) -> outputs.Output:
    def build(*given):
        with open(SETTINGS["built"], "a") as file:
            file.write(output.topic + "\n")
        return output.build(*given)

    return replace(output, build=build)


class ExtendedNode(DepthNode):
    def add_on_set_parameters_callback(self, callback) -> None:
        if "refuses" in SETTINGS:
            super().add_on_set_parameters_callback(refuse)  # the newest callback is asked first
        super().add_on_set_parameters_callback(callback)


def refuse(changes: list[Parameter]) -> SetParametersResult:
    return SetParametersResult(
        successful=SETTINGS["refuses"] not in [[change.name, change.value] for change in changes]
    )


if __name__ == "__main__":
    if "built" in SETTINGS:
        outputs.OUTPUTS = tuple(map(recorded, outputs.OUTPUTS))
    if "own_wait_s" in SETTINGS:
        camera_info_buffer.OWN_WAIT_S = SETTINGS["own_wait_s"]
    if "first_wait_s" in SETTINGS:
        camera_info_buffer.FIRST_WAIT_S = camera_info_buffer.OFFERED_WAIT_S = SETTINGS["first_wait_s"]
    sys.exit(node_process.run(lambda: ExtendedNode(predictor_factory=load)))
