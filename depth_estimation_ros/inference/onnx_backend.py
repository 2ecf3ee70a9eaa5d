"""Runs an ONNX file on ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from depth_estimation_ros.inference.contract import ModelContract
from depth_estimation_ros.inference.errors import BackendError, InferenceError, ModelFileError, first_line

if TYPE_CHECKING:
    import onnxruntime

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_MOST_SIZES = 8
_DTYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}


class OnnxBackend:
    """An open session as a function of one tensor.

    Attributes:
        name: "onnxruntime".
        device: "cpu" or "cuda", what the session really runs on.
    """

    name = "onnxruntime"

    def __init__(self, session: onnxruntime.InferenceSession, contract: ModelContract, path: Path, num_threads: int):
        """Takes an open session.

        Args:
            session: For any size that the graph allows.
            contract: Its contract.
            path: The file it was opened from.
            num_threads: As it was opened with.
        """
        self._session = session
        self._at_size: dict[tuple[int, int], onnxruntime.InferenceSession] = {}
        self._path, self._num_threads = path, num_threads
        self._stamp = _stamp(path)
        self._input_name = contract.input.name
        self._output_names = _output_names(contract)
        self.device = "cuda" if _CUDA in session.get_providers() else "cpu"

    def prepare(self, height: int, width: int) -> None:
        """Opens the graph once more for one size alone, which a CPU runs in a tenth less time.

        Only where the size of every map is known does ONNX Runtime keep its blocked memory layout from the first
        convolution to the last, and add what is to be added within a convolution. The least recently prepared of
        more than a handful of sizes goes back to the session for any size. A file that was replaced since it was
        opened is left alone: its depth would be read under the old one's contract.
        """
        free = free_dimensions(self._session, height, width)
        if self.device != "cpu" or not free or _stamp(self._path) != self._stamp:
            return
        try:
            session = open_session(self._path, "cpu", self._num_threads, free)
        except ModelFileError:
            return  # a size that the graph does not take: the session for any size says so when it runs
        self._at_size[height, width] = session
        if len(self._at_size) > _MOST_SIZES:
            del self._at_size[next(iter(self._at_size))]

    def __call__(self, tensor: npt.NDArray) -> Mapping[str, npt.NDArray]:
        """Runs the graph on (1, 3, h, w) and returns the outputs that the contract names.

        Raises:
            InferenceError: ONNX Runtime refuses the tensor or fails on it.
        """
        try:
            session = self._at_size.get((tensor.shape[2], tensor.shape[3]), self._session)
            outputs = session.run(self._output_names, {self._input_name: tensor})
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise InferenceError(
                f"onnxruntime failed on an input of shape {tensor.shape} ({first_line(error)}): "
                "check the contract's size rule against the graph"
            ) from error
        return dict(zip(self._output_names, map(np.asarray, outputs), strict=True))


def open_session(
    path: Path, device: str, num_threads: int, sides: Mapping[str, int] | None = None
) -> onnxruntime.InferenceSession:
    """Opens an ONNX file.

    Args:
        path: The file.
        device: "cpu", "cuda", "cuda:N", or "auto" for CUDA where there is one and the CPU elsewhere.
        num_threads: Threads within one operator, 0 for ONNX Runtime's own choice.
        sides: What to fix the graph's named free dimensions at; those left out stay free.

    Raises:
        ModelFileError: ONNX Runtime cannot read the file, or the graph does not allow ``sides``.
        BackendError: onnxruntime is not installed, or CUDA was asked for and is not to be had.
    """
    runtime = _import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 4  # fatal: whatever fails is raised as well, in our own words
    for name, side in (sides or {}).items():
        options.add_free_dimension_override_by_name(name, side)
    reason = f"its providers are {', '.join(runtime.get_available_providers())}"
    if device != "cpu" and _CUDA in runtime.get_available_providers():
        index = int(device.partition(":")[2] or 0)
        try:
            session = runtime.InferenceSession(
                str(path), options, providers=[(_CUDA, {"device_id": index}), _CPU], enable_fallback=0
            )
            # A provider that cannot be loaded is left out without an error: only the open session knows.
            if _CUDA in session.get_providers() or device == "auto":
                return session
            reason = (
                "its CUDA provider could not be loaded, for want of a GPU or of the CUDA libraries it was built for"
            )
        except Exception as error:
            reason = first_line(error)
    try:
        session = runtime.InferenceSession(str(path), options, providers=[_CPU])
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise ModelFileError(
            f"{path} cannot be read as an ONNX model ({first_line(error)}): it is truncated, damaged, or newer than "
            f"onnxruntime {runtime.__version__}, so copy it again or update onnxruntime"
        ) from error
    if device.startswith("cuda"):
        raise BackendError(
            f"device {device!r} is not to be had from onnxruntime {runtime.__version__} ({reason}): install "
            "onnxruntime-gpu in place of onnxruntime, use backend torch with a .pt2 model, or set device to auto or cpu"
        )
    return session


def free_dimensions(session: onnxruntime.InferenceSession, height: int, width: int) -> dict[str, int]:
    """Names the free dimensions of a graph's input, with the size of an image that would fix them.

    Returns:
        Empty where they have no names, or one name stands for two of them.
    """
    sides = zip(session.get_inputs()[0].shape, (1, 3, height, width), strict=True)
    named = [(name, side) for name, side in sides if isinstance(name, str)]
    return dict(named) if len(dict(named)) == len(named) else {}


def fit_to_graph(contract: ModelContract, session: onnxruntime.InferenceSession, path: Path) -> ModelContract:
    """Checks that a contract speaks of this graph, and notes the graph's size where it takes one size only.

    Raises:
        ModelFileError: The contract names an input or output that the graph has not, or the graph needs another
            layout, dtype or more inputs.
    """
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = [item.name for item in session.get_outputs()]
    given = contract.input
    problems = []
    if list(inputs) != [given.name]:
        problems.append(f"the contract names the input {given.name!r} and the graph takes {_listed(inputs)}")
    absent = [name for name in _output_names(contract) if name not in outputs]
    if absent:
        problems.append(f"the contract names the output {_listed(absent)} and the graph gives {_listed(outputs)}")
    fixed_size = None
    if given.name in inputs:
        graph_input = inputs[given.name]
        if graph_input.type != _DTYPES[given.dtype]:
            problems.append(f"the contract says dtype {given.dtype} and the graph takes {graph_input.type}")
        shape = [size if isinstance(size, int) else None for size in graph_input.shape]
        if len(shape) != 4 or shape[0] not in (1, None) or shape[1] not in (3, None):
            problems.append(f"the graph takes {graph_input.shape} and must take (1, 3, height, width)")
        elif (shape[2] is None) != (shape[3] is None):
            problems.append(
                f"the graph takes {graph_input.shape}, where both of height and width must be fixed or free"
            )
        elif shape[2] is not None and shape[3] is not None:
            fixed_size = (shape[2], shape[3])
    if problems:
        raise ModelFileError(
            f"{path} and its contract disagree ({'; '.join(problems)}): correct the contract or export the model again"
        )
    return replace(contract, input=replace(given, fixed_size=fixed_size))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _output_names(contract: ModelContract) -> list[str]:
    return [name for name in (contract.output.name, contract.output.confidence_name) if name is not None]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _import_onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"onnxruntime cannot be imported ({first_line(error)}): install it for this Python with "
            "`python3 -m pip install onnxruntime`"
        ) from error
    onnxruntime.set_default_logger_severity(3)  # errors: its warnings about device discovery help nobody here
    return onnxruntime
