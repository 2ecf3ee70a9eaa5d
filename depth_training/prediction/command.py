"""The command ``predict``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from depth_training.judging.prediction_files import name_some

SHOWN_UNREADABLE = 10
# A model for wide lenses may reach twice as far, where a room would show half of the colours.
GREATEST_INDOORS_M = 10.0

logger = logging.getLogger(__name__)
console = Console()


def predict(
    model: Annotated[str, typer.Argument(help="A bundled name, an .onnx or .pt2 file, or a .safetensors checkpoint.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, folders of them, videos.")],
    output: Annotated[Path, typer.Option(help="Folder to write to.")],
    write: Annotated[
        str,
        typer.Option(
            help="colour (turbo, metres beside it; a video as mp4), png (16-bit mm), npy (metres), ply (cloud)."
        ),
    ] = "colour",
    fx: Annotated[float | None, typer.Option(help="Focal length in pixels at the images' size.")] = None,
    fy: Annotated[float | None, typer.Option(help="Likewise, vertical; fx by default.")] = None,
    cx: Annotated[
        float | None,
        typer.Option(help="Principal point in pixels of the image as it is stored; the middle by default."),
    ] = None,
    cy: Annotated[float | None, typer.Option(help="Likewise, vertical.")] = None,
    cameras: Annotated[
        Path | None, typer.Option(help="CSV file with the columns image, fx and fy, cx, cy, as `prepare` writes it.")
    ] = None,
    hfov: Annotated[float | None, typer.Option(help="Assumed horizontal field of view, degrees.")] = None,
    max_depth: Annotated[
        float | None,
        typer.Option(min=0.1, help="End of the colours' scale, metres; by default 10, or the model's greatest."),
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Pixels between the points of a cloud.")] = 1,
    every: Annotated[int, typer.Option(min=1, help="Take one frame of so many of a video.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    r"""Run a model on images, folders and videos.

    Metric scale follows the camera as in the node: by --fx, by --cameras, or by --hfov; without any of them depth is in
    the training camera's terms, and there is no cloud. Files that cannot be read are listed at the end.

    \b
    python -m depth_training predict default photos/ --hfov 69 --write colour,png,ply --output depth
    """
    from depth_training.evaluation import open_model
    from depth_training.prediction.cameras import given_cameras
    from depth_training.prediction.inputs import InputError, list_inputs
    from depth_training.prediction.outputs import parse_kinds
    from depth_training.prediction.run import Outcome, Settings, predict_inputs

    kinds = parse_kinds(write)
    known = given_cameras(fx, fy, cx, cy, cameras, hfov)
    if "ply" in kinds and known.common is None and not any(known.by_name.values()) and known.hfov_deg is None:
        raise InputError("--write ply needs the camera: give --fx, --cameras or --hfov")
    listed = list_inputs(inputs)
    predictor = open_model(model, device)
    greatest_m = max_depth or min(predictor.contract.output.greatest_depth_m, GREATEST_INDOORS_M)
    settings, outcome = Settings(kinds, output, known, greatest_m, stride, every), Outcome()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"predicting with {model}", total=sum(given.frames for given in listed))
        for frames in predict_inputs(predictor, listed, settings, outcome):
            progress.advance(task, frames)
    for path, reason in outcome.unreadable[:SHOWN_UNREADABLE]:
        console.print(f"left out {path}: {reason}", style="yellow", highlight=False, soft_wrap=True, markup=False)
    if len(outcome.unreadable) > SHOWN_UNREADABLE:
        console.print(f"and {len(outcome.unreadable) - SHOWN_UNREADABLE} more", style="yellow")
    if outcome.images == 0:
        raise InputError(f"none of {len(listed)} files could be read: give images or videos that OpenCV decodes")
    if outcome.without_camera:
        logger.warning(
            "no focal length for %s: depth is in the training camera's terms%s; --fx, --cameras or --hfov says it",
            name_some([path.name for path in outcome.without_camera]),
            ", without a cloud" if "ply" in kinds else "",
        )
    left_out = f", {len(outcome.unreadable)} files left out" if outcome.unreadable else ""
    console.print(f"{output}: depth of {outcome.images} images{left_out}", soft_wrap=True, highlight=False)


def register(app: Any) -> None:
    """Add the command to the command line."""
    app.command()(predict)
