"""The commands about finished models: ``export``, ``info``, ``ensemble``, ``average`` and the two calibrations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer
from rich.console import Console
from rich.table import Table

from depth_training.data.pairs import Pair, read_pairs

console = Console()
Limit = Annotated[int | None, typer.Option(min=1, help="Use so many of the pairs, evenly spread.")]


def export(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors of a run.")],
    output: Annotated[
        Path, typer.Argument(help="A file ending in .onnx (ONNX Runtime), .pt2 (PyTorch, for CUDA) or .safetensors.")
    ],
    half: Annotated[bool, typer.Option(help="Store large weights as float16: half the file, same computation.")] = True,
    metrics: Annotated[Path | None, typer.Option(help="JSON of `evaluate` to record in the contract.")] = None,
    zoom: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="Least and greatest focal length, over the training camera's, to run at native size: narrower than "
            "trained, where benchmarks/imitated_cameras.py shows that the network does not hold what it was shown."
        ),
    ] = None,
    card: Annotated[bool, typer.Option(help="Write a model card (Markdown) beside the file.")] = True,
) -> None:
    """Export a checkpoint for the robot, with everything the runtime must know inside the file.

    The file is compared with the checkpoint at its native size, at other aspect ratios and at odd sizes. Where depth
    differs by more than 2 % at any pixel, it is refused and no file is left.
    """
    from depth_training.model_files.description import describe_model
    from depth_training.model_files.model_card import card_path, model_card
    from depth_training.model_files.parity import BOUND, export_compared

    found = export_compared(checkpoint, output, half, _read_metrics(metrics), zoom)
    table = Table("size", "", "greatest difference", "99 % of pixels within", title="against the checkpoint in PyTorch")
    for size in found:
        percent = (f"{100 * value:.3f} %" for value in (size.greatest, size.percentile99))
        table.add_row(f"{size.width}x{size.height}", size.name, *percent)
    console.print(table)
    worst = max(size.greatest for size in found)
    console.print(f"greatest relative difference {100 * worst:.3f} %, allowed {100 * BOUND:g} %", highlight=False)
    console.print(f"{output}: {output.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    described = describe_model(str(output))
    if card and described.contract is not None:
        card_path(output).write_text(model_card(output, described.contract, found))
        console.print(f"model card: {card_path(output)}", soft_wrap=True)
    elif card_path(output).is_file():
        console.print(
            f"{card_path(output)} is of an earlier export: remove it, or leave out --no-card",
            style="yellow",
            soft_wrap=True,
        )


def _read_metrics(path: Path | None) -> dict | None:
    if path is None:
        return None
    try:
        metrics = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): give what `evaluate --json` wrote") from error
    if not isinstance(metrics, dict) or "protocol" not in metrics:
        raise ValueError(f"{path} has no protocol: give what `evaluate --json` wrote")
    return metrics


def info(
    model: Annotated[
        str, typer.Argument(help="A bundled name, an .onnx, .pt2 or .safetensors file, or the folder of a run.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
) -> None:
    """Say everything that a model file carries, how large it is and how much it computes.

    Of a run's folder: how far it has come, its best validation, its settings.
    """
    from depth_training.model_files.description import describe_model, describe_run

    if Path(model).is_dir():
        progress, settings = describe_run(Path(model))
        rows, problem = progress + settings, ""
    else:
        described = describe_model(model)
        rows, problem = described.rows, described.problem
    if as_json:
        document = dict(rows) | ({"problem": problem} if problem else {})
        console.print_json(json.dumps(document))
        return
    table = Table(title=model, show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    console.print(table, highlight=False, markup=False)
    if problem:
        console.print(f"no usable contract: {problem}", style="yellow", highlight=False, soft_wrap=True, markup=False)


def ensemble(
    checkpoints: Annotated[list[Path], typer.Argument(help="Two or more model.safetensors of the same camera.")],
    output: Annotated[Path, typer.Option(help="Where to write; its name becomes the model's, for example quality.")],
) -> None:
    """Make one model of several: their mean in log depth, and what they disagree by in its confidence.

    It is evaluated, calibrated and exported like any other, and takes the time of all its members.
    """
    from depth_training.model_files.ensemble import join_checkpoints

    console.print(f"{join_checkpoints(checkpoints, output)}: {len(checkpoints)} networks", soft_wrap=True)


def average(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Two or more model.safetensors, each trained on from another of them.")
    ],
    output: Annotated[Path, typer.Option(help="Where to write, a name that ends in .safetensors.")],
) -> None:
    """Make one network of a run and its continuations: the mean of their weights.

    It takes the time of one. Networks that were trained apart have no such mean: `ensemble` joins those.
    """
    from depth_training.model_files.ensemble import average_checkpoints

    console.print(f"{average_checkpoints(checkpoints, output)}: mean of {len(checkpoints)} networks", soft_wrap=True)


def calibrate_depth(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors of a run with network.head=log_depth.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of images with depth; two numbers are fitted, so training images will do. Left out: what "
            "the run itself held apart, by the config.yaml beside the checkpoint."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write. Left out: NAME_stretched.safetensors beside the checkpoint.")
    ] = None,
    limit: Limit = None,
) -> None:
    """Stretch a network's log depth to what pairs show, where it tells too little of far and near.

    A gain and a shift, folded into the last convolution: same network, same time. Confidence stays as it is: calibrate
    it afterwards.
    """
    from depth_training.depth_calibration import calibrate_depth as calibrate

    cv2.setNumThreads(1)
    target = output or checkpoint.with_name(f"{checkpoint.stem}_stretched.safetensors")
    stretch = calibrate(checkpoint, _calibration_pairs(pairs, checkpoint, limit), target)
    errors = f"{stretch.error_before:.4f} to {stretch.error:.4f}"
    console.print(f"{target}: gain {stretch.gain:.3f}, shift {stretch.shift:+.3f}; mean log error {errors}")


def calibrate_confidence(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors of a run with network.confidence=true.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of images held apart from training. Left out: what the run itself held apart, "
            "by the config.yaml beside the checkpoint."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write. Left out: NAME_calibrated.safetensors beside the checkpoint.")
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=100,
            help="Fit nothing: this factor, of a like run that held pairs apart, for one that did not.",
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Fit no errors: the level (mean of ln(sigma)) of this calibrated checkpoint, of a like run that held "
            "pairs apart, on images that both have learnt (--pairs)."
        ),
    ] = None,
    limit: Limit = None,
    fx: Annotated[
        float | None,
        typer.Option(
            help="Focal length of the images, pixels, where the CSV file does not say it. Left out: that of the camera "
            "which the network was trained for, at the images' size."
        ),
    ] = None,
    fy: Annotated[float | None, typer.Option(help="Likewise, vertical. Left out: as --fx.")] = None,
) -> None:
    """Scale a network's confidence so that 68.3 % of the errors lie within one sigma.

    One factor, fitted on images that were held apart from training, or taken from a run that held some apart where this
    one learnt all. The depth does not change.
    """
    from depth_training.checkpoint import load_checkpoint
    from depth_training.confidence_calibration import calibrate_checkpoint, match_checkpoint, rescale_checkpoint
    from depth_training.evaluation import given_camera
    from depth_training.initialisation import training_camera

    cv2.setNumThreads(1)
    target = output or checkpoint.with_name(f"{checkpoint.stem}_calibrated.safetensors")
    if factor is not None:
        if pairs or limit or like:
            raise ValueError(
                "--factor fits nothing, and --pairs, --limit and --like have no use with it: leave them out"
            )
        rescale_checkpoint(checkpoint, factor, target)
    else:
        if like and not pairs:
            raise ValueError("--like compares two networks on images that both have learnt: give those by --pairs")
        chosen = _calibration_pairs(pairs, checkpoint, limit)
        camera = given_camera(fx, fy, training_camera(load_checkpoint(checkpoint)[1]))
        if like:
            factor = match_checkpoint(checkpoint, like, chosen, camera, target)
        else:
            factor = calibrate_checkpoint(checkpoint, chosen, camera, target)
    console.print(f"{target}: sigma x {factor:.3f}")


def _calibration_pairs(pairs: Path | None, checkpoint: Path, limit: int | None) -> list[Pair]:
    from depth_training.confidence_calibration import held_apart_pairs
    from depth_training.evaluation import evenly_spread

    return evenly_spread(read_pairs(pairs) if pairs else held_apart_pairs(checkpoint), limit)


def register(app: Any) -> None:
    """Add the commands to the command line."""
    app.command()(export)
    app.command()(info)
    app.command()(ensemble)
    app.command()(average)
    app.command()(calibrate_depth)
    app.command()(calibrate_confidence)
