"""Everything that can be said of a model file, or of the folder of a run, as rows of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from depth_estimation_ros.inference import ModelContract, ModelFileError, read_contract, resolve_model
from depth_estimation_ros.inference.contract_rules import check_keys
from depth_estimation_ros.inference.errors import first_line
from depth_training.checkpoint import CheckpointError, load_checkpoint
from depth_training.judging.tables import CONFIDENCE_MEANINGS
from depth_training.model_files.work import count

Rows = list[tuple[str, str]]
SUFFIXES = (".onnx", ".pt2", ".safetensors")


class DescriptionError(ValueError):
    """Something that cannot be described; the message says what can."""


@dataclass(frozen=True)
class Description:
    """A model file.

    Attributes:
        path: The file.
        contract: What it says of itself; None where it says nothing that can be used.
        problem: Why there is no contract, with what is missing; empty where there is one.
        rows: Name and value of everything known.
    """

    path: Path
    contract: ModelContract | None
    problem: str
    rows: Rows


def find_model(model: str) -> Path:
    """The file that a bundled name or a path means.

    Raises:
        ModelFileError: There is none.
        DescriptionError: It is of another kind.
    """
    path = resolve_model(model)
    if path.suffix not in SUFFIXES:
        raise DescriptionError(
            f"{path} is no model file: give a bundled name, or a file ending in {', '.join(SUFFIXES)}"
        )
    return path


def describe_model(model: str) -> Description:
    """Read a model file's contract, and count and measure what it does not say.

    Args:
        model: A bundled name, or an ``.onnx``, ``.pt2`` or ``.safetensors`` file.

    Raises:
        ModelFileError: There is no such file.
        DescriptionError: A file of another kind.
    """
    path = find_model(model)
    contract, problem = _contract(path)
    rows = contract_rows(contract) if contract else []
    return Description(path, contract, problem, rows + file_rows(path, contract))


def _contract(path: Path) -> tuple[ModelContract | None, str]:
    try:
        return (load_checkpoint(path)[1] if path.suffix == ".safetensors" else read_contract(path)), ""
    except (ModelFileError, CheckpointError) as error:
        # A contract that is there but wrong has said itself what is missing.
        missing = check_keys({"input": {}, "output": {}}, ModelContract).missing if "carries no" in str(error) else []
        keys = f"; a contract has the keys {', '.join(missing)}" if missing else ""
        return None, f"{error}{keys}"


def contract_rows(contract: ModelContract) -> Rows:
    """What a contract says, in words."""
    given, taken = contract.input, contract.output
    statistics = "" if given.normalisation == "none" else f", mean {_numbers(given.mean)}, std {_numbers(given.std)}"
    answer = f"{taken.quantity} in {taken.unit}, output {taken.name!r}"
    if (taken.scale, taken.offset) != (1.0, 0.0):
        answer += f", raw x {taken.scale:g} + {taken.offset:g}"
    camera = "unknown"
    if contract.training_fx is not None and contract.training_fy is not None:
        camera = f"fx {contract.training_fx:.1f}, fy {contract.training_fy:.1f} pixels at native size"
    sizes = f"any multiple of {given.size_multiple} from {given.size_least} to {given.size_most} pixels a side"
    if given.fixed_size is not None:
        sizes = f"{given.fixed_size[1]}x{given.fixed_size[0]} only"
    seen = f"{given.zoom_range[0]:g} to {given.zoom_range[1]:g} times the training camera's focal length"
    return [
        ("name", contract.name),
        ("encoder", contract.encoder),
        ("decoder", contract.decoder),
        ("training data", contract.training_data),
        ("licence", contract.licence),
        ("made by revision", contract.git_revision),
        ("format version", str(contract.format_version)),
        ("input", f"{given.name!r}, {given.layout} {given.dtype}, {given.colour_order} in {_numbers(given.range)}"),
        ("normalised by", f"{given.normalisation}{statistics}"),
        ("resized by", given.resize_filter),
        ("native size", f"{given.native_width}x{given.native_height}"),
        ("sizes", sizes),
        ("native size for", seen),
        ("answers", answer),
        ("output stride", f"{taken.stride} input pixels"),
        ("depth range", f"{taken.least_depth_m:g} to {taken.greatest_depth_m:g} m"),
        ("confidence", taken.confidence_meaning or "none"),
        ("training camera", camera),
        *metric_rows(contract.metrics),
        *confidence_rows(contract.metrics),
    ]


def metric_rows(metrics: dict[str, Any]) -> Rows:
    """What a contract's metrics say: numbers with their intervals, and the protocol."""
    if not metrics:
        return [("metrics", "nobody measured")]
    intervals = metrics.get("interval95", {})
    rows = []
    for name, value in metrics.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            between = _between(intervals, name)
            rows.append((name, f"{value:d}{between}" if isinstance(value, int) else f"{value:.4f}{between}"))
        elif isinstance(value, str):
            rows.append((name, value))
    return rows


def confidence_rows(metrics: dict[str, Any]) -> Rows:
    """What a contract's metrics say of its confidence: each figure with its interval and its meaning."""
    confidence = metrics.get("confidence", {})
    intervals = confidence.get("interval95", {})
    rows = []
    for name, meaning in CONFIDENCE_MEANINGS.items():
        if name in confidence:
            rows.append((name, f"{confidence[name]:.4f}{_between(intervals, name)}: {meaning}"))
    return rows


def _between(intervals: dict[str, Any], name: str) -> str:
    interval = intervals.get(name)
    return f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""


def file_rows(path: Path, contract: ModelContract | None) -> Rows:
    """Size, checksum, parameters, multiply-adds and where it runs."""
    size = None if contract is None else contract.input.usual_size
    try:
        parameters, work = count(path, size)
        counted = [("parameters", f"{parameters / 1e6:.2f} M")]
        if work is not None and size is not None:
            counted.append(("multiply-adds", f"{work / 1e9:.2f} GMAC at {size[1]}x{size[0]}"))
    except (ModelFileError, CheckpointError):
        counted = []  # the problem has been told
    except Exception as error:  # a damaged file fails in each library's own way
        counted = [("parameters", f"not countable ({first_line(error)})")]
    return [
        *counted,
        ("file", str(path)),
        ("file size", f"{path.stat().st_size / 1e6:.2f} MB"),
        ("sha256", sha256(path)),
        ("runs on", runs_on(path)),
    ]


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def runs_on(path: Path) -> str:
    """What can run a model of this kind on this machine."""
    import onnxruntime
    import torch

    if path.suffix == ".onnx":
        return f"onnxruntime {onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}"
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    what = "" if path.suffix == ".pt2" else " (evaluate and predict; export it for a robot)"
    return f"torch {torch.__version__}: {', '.join(['cpu', *devices])}{what}"


def describe_run(run: Path) -> tuple[Rows, Rows]:
    """The folder of a run: how far it has come, and its settings.

    Raises:
        DescriptionError: It is not one.
    """
    settings_file = run / "config.yaml"
    if not settings_file.is_file():
        raise DescriptionError(f"{run} holds no config.yaml: give the folder of a run, or a model file")
    settings = _flat(OmegaConf.to_container(OmegaConf.load(settings_file)))
    rows: Rows = []
    logs = sorted(run.glob("logs/version_*/metrics.csv"), key=lambda log: int(log.parent.name.rpartition("_")[2]))
    if logs:
        table = pd.concat([pd.read_csv(log) for log in logs], ignore_index=True).groupby("epoch").last()
        rows.append(("epochs", f"{int(table.index.max()) + 1} of {dict(settings).get('optimiser.epochs', '?')}"))
        if "val/abs_rel" in table and table["val/abs_rel"].notna().any():
            kept = dict(settings).get("optimiser.kept_epoch", "best")
            validated = table["val/abs_rel"].dropna()
            epoch = validated.index.max() if kept == "last" else validated.idxmin()
            figures = {name: table[name][epoch] for name in table if str(name).startswith("val/")}
            said = ", ".join(f"{name.removeprefix('val/')} {value:.4f}" for name, value in figures.items())
            rows.append((f"{kept} validation", f"epoch {int(epoch) + 1}: {said}"))
    model = run / "model.safetensors"
    rows.append(("model", f"{model}" if model.is_file() else "not written yet: the run has not ended"))
    return rows, settings


def _flat(settings: Any, prefix: str = "") -> Rows:
    rows: Rows = []
    for key, value in settings.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", str(value))]
    return rows


def _numbers(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
