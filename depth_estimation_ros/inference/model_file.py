"""Finds a model file and reads the contract it carries.

Three kinds of model run: an ONNX file with the contract in its metadata, a third party's ONNX file with the contract in
a JSON sidecar (`model.onnx.json`, or else `model.json`), and a `.pt2` program with the contract as an extra file. Where
an ONNX file carries a contract and has a sidecar too, the embedded one holds and a warning names the ignored file: the
embedded one was written by whoever exported the weights, and a stray JSON file must not change what they mean.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from depth_estimation_ros.inference.contract import FORMAT_VERSION, InputContract, ModelContract, OutputContract
from depth_estimation_ros.inference.errors import ModelFileError
from depth_estimation_ros.inference.onnx_backend import fit_to_graph, open_session
from depth_estimation_ros.inference.pt2_archive import read_extra_file

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "CONTRACT_FILE",
    "CONTRACT_KEY",
    "FORMAT_VERSION",
    "InputContract",
    "ModelContract",
    "ModelFileError",
    "OutputContract",
    "bundled_models",
    "contract_of_session",
    "default_model_path",
    "read_contract",
    "resolve_model",
]

CONTRACT_KEY = "depth_estimation_ros.contract"  #: in ONNX metadata_props and in a safetensors header
CONTRACT_FILE = "contract.json"  #: the extra file of a .pt2

_MODELS = Path(__file__).resolve().parent.parent / "models"
_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
_FOREIGN_STARTS = {
    b"PK\x03\x04": "a zip archive, as PyTorch's pickled checkpoints are, and the runtime never unpickles",
    b"\x80": "a Python pickle, and the runtime never unpickles",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"version https://git-lfs": "a git-lfs pointer, which `git lfs pull` replaces by the file itself",
}

_logger = logging.getLogger(__name__)


def default_model_path() -> Path:
    """Returns where the bundled default model lies."""
    return _MODELS / "default.onnx"


def bundled_models() -> tuple[str, ...]:
    """Returns the names of the models that came with the package."""
    return tuple(sorted({path.stem for path in _MODELS.glob("*") if path.suffix in (".onnx", ".pt2")}))


def resolve_model(model: str | Path) -> Path:
    """Finds the model file that a bundled name or a path means; a bundled name goes before a file of that name.

    Raises:
        ModelFileError: Neither; the bundled names are listed.
    """
    for suffix in (".onnx", ".pt2"):
        bundled = _MODELS / f"{model}{suffix}"
        if bundled.parent == _MODELS and os.path.isfile(bundled):
            return bundled
    path = os.path.expanduser(model)
    if os.path.isfile(path):  # unlike Path.is_file, False for a name that no file can have
        return Path(path)
    what = "is a folder" if os.path.isdir(path) else "does not exist as a file and is no bundled model"
    raise ModelFileError(
        f"model {str(model)!r} {what}: give the path of a .onnx or .pt2 file, or a bundled name "
        f"({', '.join(bundled_models()) or 'this installation has none, so reinstall the package'})"
    )


def read_contract(path: str | Path) -> ModelContract:
    """Reads the contract of a `.onnx` or `.pt2` file, without torch in either case.

    Raises:
        ModelFileError: The file is missing, empty, damaged or of another kind, carries no contract or one that breaks
            a rule, or its graph has not the inputs and outputs that the contract names.
        BackendError: onnxruntime, which reads `.onnx` files, is not installed.
    """
    path = Path(path)
    refuse_foreign_file(path)
    if path.suffix.lower() == ".pt2":
        return ModelContract.from_json(read_extra_file(path, CONTRACT_FILE), f"{CONTRACT_FILE} in {path}")
    return contract_of_session(path, open_session(path, "cpu", num_threads=1))


def contract_of_session(path: Path, session: onnxruntime.InferenceSession) -> ModelContract:
    """Reads the contract of an ONNX file that is already open; errors as `read_contract`."""
    embedded = session.get_modelmeta().custom_metadata_map.get(CONTRACT_KEY)
    sidecar = next((s for s in (Path(f"{path}.json"), path.with_suffix(".json")) if s.is_file()), None)
    if embedded is not None:
        if sidecar is not None:
            _logger.warning("%s is ignored, because %s carries its own contract", sidecar, path)
        contract = ModelContract.from_json(embedded, f"the contract in {path}")
    elif sidecar is not None:
        contract = ModelContract.from_json(_read_text(sidecar), str(sidecar))
    else:
        raise ModelFileError(
            f"{path} carries no model contract (metadata key {CONTRACT_KEY!r}) and has no sidecar beside it: write "
            f"{path.name}.json, or export the model with `python -m depth_training export`"
        )
    return fit_to_graph(contract, session, path)


def refuse_foreign_file(path: Path) -> None:
    """Refuses a file that its name or its first bytes show to be no model, before any library tries to parse it."""
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise ModelFileError(
            f"model file {path} cannot be read ({error.strerror}): give the path of a readable .onnx or .pt2 file"
        ) from error
    remedy = "export the network with `python -m depth_training export`"
    if suffix in _PICKLES:
        raise ModelFileError(f"{path} is a pickled checkpoint, and the runtime never unpickles: {remedy}")
    if suffix not in (".onnx", ".pt2"):
        raise ModelFileError(f"{path} ends in {suffix!r}, and only .onnx and .pt2 files run here: {remedy}")
    if not start:
        raise ModelFileError(f"{path} is empty: copy or download it again")
    if suffix == ".onnx" and (foreign := _foreign_kind(start)):
        raise ModelFileError(f"{path} is no ONNX file but {foreign}: give an ONNX file, or {remedy}")


def _foreign_kind(start: bytes) -> str | None:
    for magic, kind in _FOREIGN_STARTS.items():
        if start.startswith(magic):
            return kind
    is_text = not any(byte < 32 and byte not in b"\t\n\r\f" for byte in start)  # ONNX starts with a byte below 32
    return "a text file" if is_text else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path} cannot be read as UTF-8 text ({error}): write it again") from error
