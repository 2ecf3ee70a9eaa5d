"""Runs a `.pt2` program on PyTorch, for CUDA above all; torch itself is imported only when one is opened."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy.typing as npt

from depth_estimation_ros.inference.contract import ModelContract
from depth_estimation_ros.inference.errors import BackendError, InferenceError, ModelFileError, first_line
from depth_estimation_ros.inference.pt2_archive import check_archive


class TorchBackend:
    """An open program as a function of one tensor.

    The program takes one image tensor. It gives a dict with the contract's output names as keys, or a tensor or a
    tuple in the order depth, confidence.

    Attributes:
        name: "torch".
        device: "cpu" or "cuda".
        fixed_size: (height, width) where the program takes one size only, else None.
    """

    name = "torch"

    def __init__(self, path: Path, contract: ModelContract, device: str, num_threads: int):
        """Opens a program.

        Args:
            path: The `.pt2` file.
            contract: Its contract.
            device: "cpu", "cuda", "cuda:N", or "auto" for CUDA where there is one and the CPU elsewhere.
            num_threads: Threads within one operator on the CPU, for the whole process; 0 for torch's own choice.

        Raises:
            ModelFileError: Not a program, holds more than data, was written by another torch, or is not what the
                contract says.
            BackendError: torch is not installed, or CUDA was asked for and is not to be had.
        """
        self._torch = torch = _import_torch()
        self._device = choose_device(device)
        self.device = self._device.type
        program = load_program(path)
        self.fixed_size = _fit_to_program(contract, program, path)
        if self.device == "cuda":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, str(self._device))
        elif num_threads > 0:
            torch.set_num_threads(num_threads)
        self._module = program.module()
        self._path = path
        self._output_names = [n for n in (contract.output.name, contract.output.confidence_name) if n is not None]

    def prepare(self, height: int, width: int) -> None:
        """Does nothing: a program runs at each size as it is."""

    def __call__(self, tensor: npt.NDArray) -> Mapping[str, npt.NDArray]:
        """Runs the program on (1, 3, h, w) and returns the outputs that the contract names, as float32.

        Raises:
            InferenceError: torch refuses the tensor or fails on it.
            ModelFileError: The program's outputs are not those of the contract.
        """
        torch = self._torch
        try:
            with torch.inference_mode():
                result = self._module(torch.from_numpy(tensor).to(self._device))
                outputs = self._named(result)
                return {name: output.to(torch.float32).cpu().numpy() for name, output in outputs.items()}
        except ModelFileError:
            raise
        except Exception as error:  # a program's size guards raise AssertionError, its operators RuntimeError
            raise InferenceError(
                f"torch failed on an input of shape {tensor.shape} ({first_line(error)}): "
                "check the contract's size rule against the program"
            ) from error

    def _named(self, result: Any) -> dict[str, Any]:
        if isinstance(result, Mapping):
            named = dict(result)
        else:
            row = result if isinstance(result, (tuple, list)) else (result,)
            named = dict(zip(self._output_names, row, strict=False))
        absent = [name for name in self._output_names if name not in named]
        if absent:
            raise ModelFileError(
                f"{self._path} and its contract disagree (the contract names the output {absent[0]!r} and the program "
                f"gives {', '.join(map(repr, named))}): correct the contract or export the model again"
            )
        return {name: named[name] for name in self._output_names}


def _import_torch() -> ModuleType:
    try:
        import torch
        import torch.export
    except ImportError as error:
        raise BackendError(
            f"the torch backend needs torch, which cannot be imported ({first_line(error)}): install it with "
            "`pip install '.[cuda]'` in the package's folder, or use an .onnx model"
        ) from error
    return torch


def choose_device(device: str) -> Any:
    """The `torch.device` for "cpu", "cuda", "cuda:N", or "auto": CUDA where there is one and the CPU elsewhere.

    Raises:
        BackendError: torch is not installed, or CUDA was asked for and is not to be had.
    """
    torch = _import_torch()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not count):
        return torch.device("cpu")
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise BackendError(
            f"device {device!r} is not to be had from torch {torch.__version__} (it sees {count} CUDA devices): "
            "install the NVIDIA driver and a CUDA build of torch, or set device to auto or cpu"
        )
    return torch.device("cuda", index)


def load_program(path: Path) -> Any:
    """Loads a `.pt2` as a `torch.export.ExportedProgram`, without ever unpickling.

    Raises:
        ModelFileError: Damaged, holds more than data, or written by another torch.
        BackendError: torch is not installed.
    """
    torch = _import_torch()
    check_archive(path)
    with _no_unpickling(), _logged_errors("torch.export") as logged:
        try:
            return torch.export.load(path)
        except Exception as error:
            # What torch.export raises after logging says only that the log has the reason.
            raise ModelFileError(
                f"{path} cannot be loaded by torch {torch.__version__} ({first_line((logged or [error])[0])}): export "
                "the network again with this release of torch"
            ) from error


@contextmanager
def _no_unpickling() -> Iterator[None]:
    """Confines torch.load, which torch.export.load uses for its example inputs, to its reader of plain tensors."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # overrides even an explicit weights_only=False
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _logged_errors(logger_name: str) -> Iterator[list[BaseException]]:
    """Collects the errors that a library logs with their tracebacks, and keeps those out of the log."""
    errors: list[BaseException] = []

    def collect(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            errors.append(error)
        return error is None

    logger = logging.getLogger(logger_name)
    logger.addFilter(collect)
    try:
        yield errors
    finally:
        logger.removeFilter(collect)


def _fit_to_program(contract: ModelContract, program: Any, path: Path) -> tuple[int, int] | None:
    names = program.graph_signature.user_inputs
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or len(values[0].shape) != 4:
        problem = f"the program takes {len(values)} inputs and must take one (1, 3, height, width)"
    elif str(values[0].dtype) != f"torch.{contract.input.dtype}":
        problem = f"the contract says dtype {contract.input.dtype} and the program takes {values[0].dtype}"
    else:
        height, width = (size if isinstance(size, int) else None for size in values[0].shape[2:])
        if height is not None and width is not None:
            return height, width
        if height is None and width is None:
            return None
        problem = "the program fixes one of height and width, where both must be fixed or free"
    raise ModelFileError(
        f"{path} and its contract disagree ({problem}): correct the contract or export the model again"
    )
