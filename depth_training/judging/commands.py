"""The commands that judge: ``evaluate`` and ``compare``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer
from rich.console import Console
from rich.progress import track

from depth_training.config import ConfigError, DataConfig
from depth_training.data.pairs import read_pairs
from depth_training.data.sources.decoding import UNITS_M
from depth_training.protocols import PROTOCOLS, REDUCTIONS, named_protocol

console = Console()

PairsFile = Annotated[Path, typer.Option(help="CSV file with the columns image, depth (16-bit png, millimetres).")]
ProtocolName = Annotated[str, typer.Option(help=f"{', '.join(PROTOCOLS)}.")]
Reduction = Annotated[
    str, typer.Option(help="image: mean over images of each one's metrics. pooled: all pixels of all images alike.")
]
Unit = Annotated[str, typer.Option(help=f"Of predictions in png files: {', '.join(UNITS_M)}. Arrays are metres.")]
Fx = Annotated[
    float | None,
    typer.Option(
        help="Focal length of the images, pixels, where the CSV file does not say it. Left out: that of NYU Depth V2's "
        "camera at the images' size."
    ),
]
Fy = Annotated[float | None, typer.Option(help="Likewise, vertical. Left out: as --fx.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def evaluate(
    pairs: PairsFile,
    model: Annotated[
        str,
        typer.Option(
            help="A bundled name, an .onnx or .pt2 file, a .safetensors checkpoint, or a folder of predictions."
        ),
    ] = "default",
    protocol: ProtocolName = "nyu-eigen",
    reduce: Reduction = "image",
    unit: Unit = "mm",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write one row per image here.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the best, the median and the worst image here (png).")
    ] = None,
    fx: Fx = None,
    fy: Fy = None,
    device: Device = "auto",
) -> None:
    r"""Judge a model, or anyone's predictions in a folder, on image and depth pairs.

    Predictions are .npy or .npz (metres), or 16-bit .png or .tiff in --unit, of the images' names; missing ones are
    named, other sizes resized, and a wrong unit is refused with the likely one.

    \b
    --protocol nyu-eigen    480x640, Eigen crop, truth in (0.001, 10) m; this project's
               bts          likewise, the image's border black; published on raw depth with holes
               densedepth   rows 20:460, columns 24:616, clipped to 0.1 to 10 m, averaged with the mirrored image
               fastdepth    its 228x304 crop at 224x224, nearest pixels, nothing clipped
               whole-image  any size, no crop; for pairs of another camera

    None aligns predictions with the truth. `rmse` is in metres; `rmse_relative` is what the paper calls rms. Intervals
    are 95 % bootstrap over images. The parts of the error add up to abs_rel: `scale_part` goes away when each image is
    brought to the truth's median, `edge_part` is left within 5 pixels of true depth steps (a factor of 1.25),
    `shape_part` elsewhere.
    """
    from depth_training.judging import tables
    from depth_training.judging.judge import answered_pairs, judge_pairs, summarise_source, table_of
    from depth_training.judging.pictures import draw_best_median_worst

    _make_folders_of(json_file, csv_file, picture)
    listed, [source] = _open([model], pairs, protocol, reduce, unit, fx, fy, device)
    answered = answered_pairs([source], listed)
    chosen = named_protocol(protocol)
    judged = list(track(judge_pairs([source], answered, chosen), f"evaluating {model}", len(answered), console=console))
    result = summarise_source(judged, 0, source.model_name, chosen, reduce)
    if source.missing:
        result["missing"] = source.missing
    console.print(tables.metrics_table(result, model))
    console.print(tables.parts_table(result["error_parts"], result["abs_rel"]))
    console.print(tables.bins_table(result["depth_bins"]))
    if "confidence" in result:
        console.print(tables.confidence_table(result["confidence"]))
    if "confidence_masks" in result:
        console.print(tables.masks_table(result["confidence_masks"]))
    console.print(result["protocol"], style="dim", highlight=False)
    _print_remarks([source])
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    if csv_file:
        table_of(judged, 0).to_csv(csv_file, index=False)
    if picture:
        console.print(
            f"picture: {draw_best_median_worst(source, answered, table_of(judged, 0), picture)}", soft_wrap=True
        )


def _make_folders_of(*files: Path | None) -> None:
    # Not after the judging, which takes minutes.
    for file in files:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL MODEL...", help="As --model of `evaluate`: models and folders, mixed.")
    ],
    pairs: PairsFile,
    protocol: ProtocolName = "nyu-eigen",
    reduce: Reduction = "image",
    unit: Unit = "mm",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write one row per image here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw where they differ most here (png).")] = None,
    fx: Fx = None,
    fy: Fy = None,
    device: Device = "auto",
) -> None:
    """Judge several models or folders of predictions on the same pairs, and say which differences are real.

    Only images for which all have a prediction count. Differences are taken image by image: within one standard error
    two are a tie, and where the 95 % bootstrap interval of the difference holds zero they are not told apart.
    """
    from depth_training.judging import tables
    from depth_training.judging.comparison import TIE_RULE, compare_tables, joined_table
    from depth_training.judging.judge import answered_pairs, judge_pairs, summarise_source, table_of
    from depth_training.judging.pictures import draw_differences

    if len(models) < 2:
        raise ConfigError(f"compare needs two or more, and got {models[0]} alone: use `evaluate`, or name another")
    twice = [name for name, count in Counter(models).items() if count > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is named twice: name each model or folder once")
    _make_folders_of(json_file, csv_file, picture)
    listed, sources = _open(models, pairs, protocol, reduce, unit, fx, fy, device)
    answered = answered_pairs(sources, listed)
    chosen = named_protocol(protocol)
    judged = list(track(judge_pairs(sources, answered, chosen), "comparing", len(answered), console=console))
    results = [summarise_source(judged, place, name, chosen, reduce) for place, name in enumerate(models)]
    per_image = {name: table_of(judged, place) for place, name in enumerate(models)}
    differences = compare_tables(per_image, reduce)
    console.print(tables.ranking_table(results, differences))
    console.print(tables.differences_table(differences))
    console.print(TIE_RULE, style="dim")
    console.print(results[0]["protocol"], style="dim", highlight=False)
    _print_remarks(sources)
    disagreement = [pair.disagreement for pair in judged]
    if json_file:
        document = {"results": results, "differences": [{**asdict(d), "verdict": d.verdict} for d in differences]}
        json_file.write_text(json.dumps(document, indent=2) + "\n")
    if csv_file:
        joined_table(per_image, disagreement).to_csv(csv_file, index=False)
    if picture:
        console.print(f"picture: {draw_differences(sources, answered, disagreement, picture)}", soft_wrap=True)


def _open(
    models: Sequence[str],
    pairs: Path,
    protocol: str,
    reduce: str,
    unit: str,
    fx: float | None,
    fy: float | None,
    device: str,
) -> tuple[list, list]:
    """The pairs, and what is judged on them, after a look at all options."""
    from depth_training.evaluation import given_camera
    from depth_training.judging.sources import open_source

    if reduce not in REDUCTIONS:
        raise ConfigError(f"--reduce {reduce}: choose {' or '.join(REDUCTIONS)}")
    if unit not in UNITS_M:
        raise ConfigError(f"--unit {unit}: choose {', '.join(UNITS_M)}")
    chosen = named_protocol(protocol)
    cv2.setNumThreads(1)
    listed, camera = read_pairs(pairs), given_camera(fx, fy, DataConfig())
    return listed, [open_source(model, listed, camera, chosen, device, unit) for model in models]


def _print_remarks(sources: Sequence[Any]) -> None:
    for source in sources:
        for line in source.remarks():
            console.print(line, style="yellow", highlight=False, soft_wrap=True)


def register(app: Any) -> None:
    """Add the commands to the command line."""
    app.command()(evaluate)
    app.command()(compare)
