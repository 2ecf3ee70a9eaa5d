"""One RGB image in, metric depth out, whatever the model file and the backend."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from depth_estimation_ros.inference.contract import ModelContract
from depth_estimation_ros.inference.errors import BackendError, InferenceError
from depth_estimation_ros.inference.model_file import (
    contract_of_session,
    read_contract,
    refuse_foreign_file,
    resolve_model,
)
from depth_estimation_ros.inference.onnx_backend import OnnxBackend, open_session
from depth_estimation_ros.inference.preprocessing import resize_image, to_network_input
from depth_estimation_ros.inference.torch_backend import TorchBackend

BACKENDS = ("auto", "onnxruntime", "torch")

_logger = logging.getLogger(__name__)


class Backend(Protocol):
    """What runs a network: a function from the input tensor (1, 3, h, w) to its outputs by name."""

    name: str  #: "onnxruntime", "torch"
    device: str  #: "cpu" or "cuda"

    def prepare(self, height: int, width: int) -> None:
        """Makes ready for images of one size, which may come faster then."""

    def __call__(self, tensor: npt.NDArray) -> Mapping[str, npt.NDArray]:
        """Runs the network."""


@dataclass(frozen=True)
class Prediction:
    """Depth along the optical axis at network input size.

    Attributes:
        depth_m: (h, w) float32 metres, every value finite and above 0; no range filter has been applied.
        log_depth_sigma: (h, w) float32, one standard deviation of ln(depth); None where the model gives none.
    """

    depth_m: npt.NDArray[np.float32]
    log_depth_sigma: npt.NDArray[np.float32] | None


class Predictor:
    """A model ready to run."""

    def __init__(self, contract: ModelContract, backend: Backend):
        self.contract = contract
        self._backend = backend
        self._warm_sizes: set[tuple[int, int]] = set()

    @property
    def device(self) -> str:
        """What it runs on: "cpu" or "cuda"."""
        return self._backend.device

    @property
    def backend_name(self) -> str:
        """What runs it: "onnxruntime" or "torch"."""
        return self._backend.name

    def predict(self, image_rgb: npt.NDArray[np.uint8], focal_ratio: float = 1.0) -> Prediction:
        """Predicts depth: `Z = clip(Z_network) * focal_ratio`, clipped to the contract's least and greatest depth.

        Args:
            image_rgb: (h, w, 3) uint8, at a network size (`choose_network_size`).
            focal_ratio: Focal length at network size over the training focal length, 1 where unknown.

        Raises:
            ValueError: Not such an image, or a ratio outside 0.001 to 1000.
            InferenceError: The network failed on this image, or gave values that are not finite.
        """
        if not 1e-3 <= focal_ratio <= 1e3:
            raise ValueError(f"the focal ratio is {focal_ratio} and must lie in 0.001 to 1000: check the calibration")
        output = self.contract.output
        tensor = to_network_input(image_rgb, self.contract.input)
        size = (image_rgb.shape[0], image_rgb.shape[1])
        planes = self._backend(tensor)
        depth_m = resize_image(self._to_depth(self._plane(planes, output.name, size)), size, "linear")
        sigma = None
        if output.confidence_name is not None:
            sigma = resize_image(self._plane(planes, output.confidence_name, size), size, "linear")
        return Prediction(depth_m * np.float32(focal_ratio), sigma)

    def warm_up(self, height: int, width: int) -> bool:
        """Runs the network once on a grey image, so that the first camera frame does not pay for initialisation.

        Backends prepare anew for each size, CUDA's for seconds; a size that has been warmed up costs nothing again.

        Returns:
            Whether the network had to run.

        Raises:
            InferenceError: The network does not run at this size.
        """
        if (height, width) in self._warm_sizes:
            return False
        self._backend.prepare(height, width)
        self.predict(np.full((height, width, 3), 128, np.uint8))
        self._warm_sizes.add((height, width))
        return True

    def _plane(self, planes: Mapping[str, npt.NDArray], name: str, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        plane = np.atleast_2d(planes[name])
        stride = self.contract.output.stride
        rows, columns = ((side // stride, -(-side // stride)) for side in size)
        if plane.size != np.prod(plane.shape[-2:]) or plane.shape[-2] not in rows or plane.shape[-1] not in columns:
            raise InferenceError(
                f"output {name!r} has shape {plane.shape} for an input of {size[0]}x{size[1]}, which no plane of "
                f"stride {stride} has: correct output.stride in the model's contract"
            )
        not_finite = plane.size - np.count_nonzero(np.isfinite(plane))
        if not_finite:
            raise InferenceError(
                f"{not_finite} of {plane.size} pixels of output {name!r} are not finite: the frame is unusable, and if "
                "all frames are, the model is damaged"
            )
        return plane.reshape(plane.shape[-2:]).astype(np.float32)  # (h / stride, w / stride)

    def _to_depth(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        output = self.contract.output
        least, greatest = output.least_depth_m, output.greatest_depth_m
        value = raw * np.float32(output.scale) + np.float32(output.offset)
        if output.quantity == "inverse_z_depth":  # 0 and below lie at infinity or beyond: the greatest depth
            value = 1 / np.clip(value, 1 / greatest, 1 / least)
        return np.clip(value, least, greatest).astype(np.float32)


def check_device(device: str) -> None:
    """Raises BackendError unless the word is "auto", "cpu", "cuda" or "cuda:N"."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise BackendError(f"device {device!r} is unknown: use auto, cpu, cuda or cuda:N")


def load_predictor(
    model: str | Path = "default", device: str = "auto", backend: str = "auto", num_threads: int = 0
) -> Predictor:
    """Opens a model.

    Args:
        model: A bundled model's name, or the path of an `.onnx` or `.pt2` file.
        device: "auto" (CUDA where there is one, else the CPU with one logged line), "cpu", "cuda" or "cuda:N".
        backend: "auto" (by the file), "onnxruntime" for `.onnx`, or "torch" for `.pt2`; with "torch" an `.onnx` file
            stands for the `.pt2` of the same name beside it.
        num_threads: CPU threads within one operator, 0 for the backend's own choice.

    Raises:
        ModelFileError: The model file, its contract or the two together cannot be used.
        BackendError: Unknown backend or device, or one that this machine does not have.
    """
    check_device(device)
    if backend not in BACKENDS:
        raise BackendError(f"backend {backend!r} is unknown: use {', '.join(BACKENDS)}")
    if num_threads < 0:
        raise BackendError(f"num_threads is {num_threads} and must be 0 (automatic) or more: correct it")
    path = _file_for_backend(resolve_model(model), backend)
    if path.suffix.lower() == ".pt2":
        contract = read_contract(path)
        program = TorchBackend(path, contract, device, num_threads)
        contract = replace(contract, input=replace(contract.input, fixed_size=program.fixed_size))
        predictor = Predictor(contract, program)
    else:
        refuse_foreign_file(path)
        session = open_session(path, device, num_threads)
        contract = contract_of_session(path, session)
        predictor = Predictor(contract, OnnxBackend(session, contract, path, num_threads))
    if device == "auto" and predictor.device == "cpu":
        _logger.info("%s finds no CUDA device: model %s runs on the CPU", predictor.backend_name, contract.name)
    return predictor


def _file_for_backend(path: Path, backend: str) -> Path:
    is_program = path.suffix.lower() == ".pt2"
    if backend == "onnxruntime" and is_program:
        raise BackendError(f"backend onnxruntime cannot run {path}: give the .onnx file, or set backend to torch")
    if backend == "torch" and not is_program:
        program = path.with_suffix(".pt2")
        if not program.is_file():
            raise BackendError(
                f"backend torch needs a .pt2 program, and there is none beside {path}: export one with "
                "`python -m depth_training export`, or set backend to onnxruntime"
            )
        return program
    return path
