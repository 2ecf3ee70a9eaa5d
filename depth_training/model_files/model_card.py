"""The model card: what a model is, for a reader who has only the file, made from its contract."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depth_estimation_ros.inference import ModelContract
from depth_training.judging.tables import bin_span
from depth_training.metrics import METRIC_NAMES
from depth_training.model_files.description import Rows, confidence_rows, contract_rows, file_rows, metric_rows
from depth_training.model_files.parity import SizeParity


def card_path(model: Path) -> Path:
    """Where the card of a model file lies: beside it, ``NAME.md`` for ``NAME.onnx``, else as ``NAME.pt2.md``."""
    return model.with_suffix(".md") if model.suffix == ".onnx" else model.with_name(f"{model.name}.md")


def model_card(path: Path, contract: ModelContract, parity: Sequence[SizeParity] = ()) -> str:
    """Write a card as Markdown.

    Args:
        path: The model file, as it was written.
        contract: What it carries.
        parity: How it compares with the checkpoint it was exported from.
    """
    measured = {name for name, _ in (*metric_rows(contract.metrics), *confidence_rows(contract.metrics))}
    said = [row for row in contract_rows(contract) if row[0] not in {*measured, "name", "licence", "training data"}]
    sections = [
        f"# {contract.name}",
        f"Depth along the optical axis from one colour image: {contract.encoder} encoder, decoder with "
        f"{contract.decoder}.",
        "## The model",
        _table(said),
        "## Trained on",
        f"{contract.training_data}\n\n{_camera(contract)}",
        "## How good it is",
        _metrics(contract),
        "## Limits",
        _limits(contract),
        "## Licence",
        contract.licence,
        "## In the node",
        _in_the_node(path),
        "## The file",
        _table([("file", path.name), *(row for row in file_rows(path, contract) if row[0] not in ("file", "runs on"))]),
    ]
    if parity:
        sections.append(_parity(parity))
    return "\n\n".join(sections) + "\n"


def _table(rows: Rows) -> str:
    lines = ["| | |", "|---|---|", *(f"| {name} | {value.replace('|', '/')} |" for name, value in rows)]
    return "\n".join(lines)


def _camera(contract: ModelContract) -> str:
    if contract.training_focal_px is None:
        return "The training camera is unknown: metres are right only for a camera like it."
    given = contract.input
    return (
        f"By a camera of {contract.training_focal_px:.0f} pixels focal length at {given.native_width}x"
        f"{given.native_height}. For another camera the runtime chooses the network's size by its focal length and "
        "corrects the rest; without a calibration metres are wrong by the ratio of the two."
    )


def _metrics(contract: ModelContract) -> str:
    metrics = contract.metrics
    if not metrics:
        return "Nobody measured."
    intervals = metrics.get("interval95", {})
    names = [name for name in METRIC_NAMES if name in metrics]
    lines = ["| | mean | 95 % interval |", "|---|---|---|"]
    for name in names:
        between = "{:.4f} to {:.4f}".format(*intervals[name]) if name in intervals else "not recorded"
        lines.append(f"| {name} | {metrics[name]:.4f} | {between} |")
    measured_on = (
        f"\n\nOn: {metrics['images']}{' images' if isinstance(metrics['images'], int) else ''}."
        if "images" in metrics
        else ""
    )
    parts = ["\n".join(lines) + f"{measured_on}\n\nProtocol: {metrics['protocol']}."]
    if confidence := confidence_rows(metrics):
        parts.append(f"Its confidence, on the same images:\n\n{_table(confidence)}")
    if bins := metrics.get("depth_bins"):
        parts.append(f"By true depth:\n\n{_by_depth(bins)}")
    return "\n\n".join(parts)


def _by_depth(bins: Sequence[dict[str, Any]]) -> str:
    lines = ["| m | pixels | abs_rel | rmse m | delta1 | depth told, over the true |", "|---|---|---|---|---|---|"]
    for entry in bins:
        lines.append(
            f"| {bin_span(entry)} | {100 * entry['share']:.1f} % | {entry['abs_rel']:.3f} | {entry['rmse']:.3f} "
            f"| {entry['delta1']:.3f} | {math.exp(entry['bias']):.2f} |"
        )
    return "\n".join(lines)


def _limits(contract: ModelContract) -> str:
    taken = contract.output
    lines = [
        f"- Depth ends at {taken.least_depth_m:g} and {taken.greatest_depth_m:g} m: what lies beyond is told as there.",
        f"- It has seen {contract.training_data or 'unknown data'}, and nothing says that it is right elsewhere.",
        "- One image says nothing sure of scale. Glass, mirrors and blank walls mislead it. It is no safety sensor.",
    ]
    if taken.confidence_meaning is None:
        lines.append("- It does not say how sure it is.")
    return "\n".join(lines)


def _in_the_node(path: Path) -> str:
    if path.suffix == ".safetensors":
        return (
            "A checkpoint to train, evaluate and predict with. For the node, export it:\n\n"
            f"```\npython -m depth_training export {path.name} {path.stem}.onnx\n```"
        )
    backend = " -p backend:=torch" if path.suffix == ".pt2" else ""
    return f"```\nros2 run depth_estimation_ros depth_node --ros-args -p model:=/path/to/{path.name}{backend}\n```"


def _parity(parity: Sequence[SizeParity]) -> str:
    lines = [
        "Against its checkpoint in PyTorch, greatest relative difference at any pixel of noise images:",
        "",
        "| size | greatest | 99 % of pixels within |",
        "|---|---|---|",
    ]
    for size in parity:
        lines.append(
            f"| {size.width}x{size.height}, {size.name} "
            f"| {100 * size.greatest:.3f} % | {100 * size.percentile99:.3f} % |"
        )
    return "\n".join(lines)
