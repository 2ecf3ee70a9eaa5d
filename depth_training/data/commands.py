"""The commands about data: ``prepare`` and ``benchmark-data``."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch.utils.data import Dataset

from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import PairsError, read_pairs
from depth_training.data.prepare import ASSUMED_M, SURE_M, thin
from depth_training.data.prepare import prepare as run_preparation
from depth_training.data.sources import KINDS, detect_kind
from depth_training.data.sources.bag import BagOptions, open_bag
from depth_training.data.sources.bts import open_bts
from depth_training.data.sources.csv_pairs import open_csv
from depth_training.data.sources.decoding import UNITS_M
from depth_training.data.sources.densedepth import open_densedepth
from depth_training.data.sources.nyu_mat import open_nyu_mat
from depth_training.data.sources.sample import Source

SHOWN_UNREADABLE = 5
UNIT_KINDS = ("bts", "csv")

logger = logging.getLogger(__name__)
console = Console()


def prepare(
    source: Annotated[Path, typer.Argument(help="A .mat, .zip, .txt, .csv, .mcap or .db3 file, or a folder.")],
    output: Annotated[Path, typer.Option(help="Folder to make: images, depth in mm, pairs.csv.")],
    kind: Annotated[str, typer.Option(help=f"auto, {', '.join(KINDS)}.")] = "auto",
    split: Annotated[
        str, typer.Option(help="nyu-mat: train, test or all (the default). densedepth: train (the default) or test.")
    ] = "",
    splits_file: Annotated[
        Path | None, typer.Option(help="nyu-mat: splits.mat, where it is not beside the .mat file.")
    ] = None,
    raw_depth: Annotated[bool, typer.Option(help="nyu-mat: rawDepths, with holes, in place of filled depth.")] = False,
    root: Annotated[
        Path | None, typer.Option(help="bts, csv: folder that paths start from; the list's own by default.")
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            help=f"bts, csv: what a step of depth is: {', '.join(UNITS_M)}. Left out: mm, if that fits a room."
        ),
    ] = "",
    fx: Annotated[float | None, typer.Option(help="Focal length in pixels, where the source does not say it.")] = None,
    fy: Annotated[float | None, typer.Option(help="Likewise, vertical; fx by default.")] = None,
    cx: Annotated[float | None, typer.Option(help="Principal point in pixels; the middle by default.")] = None,
    cy: Annotated[float | None, typer.Option(help="Likewise, vertical.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Take one pair of so many.")] = 1,
    spacing: Annotated[float, typer.Option(min=0, help="bag: least time between two pairs, seconds.")] = 0.0,
    tolerance: Annotated[float, typer.Option(min=0, help="bag: greatest difference of two stamps, seconds.")] = 0.02,
    image_topic: Annotated[str, typer.Option(help="bag: colour, where several topics may be it.")] = "",
    depth_topic: Annotated[str, typer.Option(help="bag: depth registered to the colour image, likewise.")] = "",
    camera_info_topic: Annotated[str, typer.Option(help="bag: the image topic's sibling by default.")] = "",
    trust_registration: Annotated[
        bool, typer.Option(help="bag: take depth of another frame_id as registered to the image.")
    ] = False,
    lossless: Annotated[bool, typer.Option(help="Images that have no file of their own as png, not jpeg.")] = False,
) -> None:
    r"""Turn image and depth pairs of any usual layout into a folder to train on.

    Every pair is checked on the way; those that cannot be used are counted, and listed in unreadable.csv.

    \b
    python -m depth_training prepare nyu_depth_v2_labeled.mat --split train --output data/nyu
    python -m depth_training prepare nyu_data.zip --output data/nyu50k
    python -m depth_training prepare recording/ --spacing 0.5 --output data/my_robot
    """
    if unit and unit not in UNITS_M:
        raise PairsError(f"unknown unit {unit!r}: choose {', '.join(UNITS_M)}")
    fallback = _fallback(fx, fy, cx, cy)
    kind = detect_kind(source) if kind == "auto" else kind
    options = BagOptions(image_topic, depth_topic, camera_info_topic, tolerance, spacing, trust_registration)
    openers: dict[str, Callable[[], Source]] = {
        "nyu-mat": lambda: open_nyu_mat(source, split or "all", splits_file, raw_depth),
        "densedepth": lambda: open_densedepth(source, split or "train"),
        "bts": lambda: open_bts(source, root, unit or "mm"),
        "csv": lambda: open_csv(source, root, unit or "mm"),
        "bag": lambda: open_bag(source, options),
    }
    if kind not in openers:
        raise PairsError(f"unknown kind {kind!r}: choose auto, {', '.join(KINDS)}")
    if unit and kind not in UNIT_KINDS:
        raise PairsError(
            f"--unit {unit} is for {' and '.join(UNIT_KINDS)}; {source} is {kind}, which says its own: leave it out"
        )
    opened = openers[kind]()
    samples = thin(opened.samples, every)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        total = math.ceil(opened.count / every)
        try:
            tracked = progress.track(samples, total, description=kind)
            result = run_preparation(tracked, output, fallback, lossless, *_unit_check(kind, unit))
        except KeyboardInterrupt as interrupt:
            console.print("interrupted: nothing was kept", style="red")
            raise typer.Exit(130) from interrupt
    for name, reason in result.unreadable[:SHOWN_UNREADABLE]:
        logger.warning("left out %s: %s", name, reason)
    left_out = f", {len(result.unreadable)} left out (unreadable.csv)" if result.unreadable else ""
    console.print(
        f"{result.pairs}: {result.written} pairs, median depth {result.median_depth_m:.2f} m{left_out}", soft_wrap=True
    )
    if result.without_intrinsics:
        logger.warning(
            "%d pairs have no focal length: the training camera's (data.fx) will be assumed, and metric scale will be "
            "wrong if it differs; --fx says it",
            result.without_intrinsics,
        )


def _unit_check(kind: str, unit: str) -> tuple:
    """Bounds and remedy of `prepare` where the user may say the unit; nothing, and so its own, elsewhere."""
    if kind not in UNIT_KINDS:
        return ()
    return (SURE_M, "Set another --unit") if unit else (ASSUMED_M, "Set --unit, to mm if millimetres are right")


def _fallback(fx: float | None, fy: float | None, cx: float | None, cy: float | None) -> Intrinsics | None:
    if fx is None:
        if any(value is not None for value in (fy, cx, cy)):
            raise PairsError("--fy, --cx and --cy say nothing without --fx: give it too")
        return None
    fy = fx if fy is None else fy
    if not (0 < fx < math.inf and 0 < fy < math.inf):
        raise PairsError(f"--fx {fx:g} --fy {fy:g}: focal lengths are pixels above zero")
    return Intrinsics(fx, fy, cx, cy)


def benchmark_data(
    pairs: Annotated[Path, typer.Option(help="CSV file of pairs, such as `prepare` writes.")],
    preset: Annotated[Path | None, typer.Option(help="Crop and augmentation as this preset has them.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 8,
    limit: Annotated[int, typer.Option(min=8, help="Use so many pairs at most.")] = 400,
    cache: Annotated[
        Path | None, typer.Option(help="Time data.cache as well: decoded pairs in this folder, filled before.")
    ] = None,
) -> None:
    """Time the way from files to training batches, stage by stage, and against PIL with torchvision.

    Both loaders draw the same random numbers and do the same work; how far their tensors differ is printed first.
    Cold: files dropped from the system's memory before. Warm: files read just before.
    """
    from depth_training.config import load_config
    from depth_training.data import benchmark
    from depth_training.data.dataset import TrainingPairs
    from depth_training.data.pair_cache import read_cached_pair

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    config = load_config(preset, [f"data.pairs={pairs}", "network.still_norms=false"]).data  # a matter of --init
    listed = read_pairs(pairs)[:limit]
    pillow = benchmark.PillowPairs(listed, config)
    loaders: dict[str, Dataset] = {"PIL and torchvision": pillow, "ours": TrainingPairs(listed, config)}
    if cache:
        config = dataclasses.replace(config, cache=str(cache))
        loaders["ours, decoded before"] = TrainingPairs(listed, config)
        for pair in listed:
            read_cached_pair(pair, config.cache)
    levels, share = benchmark.greatest_difference(listed[:16], config)
    console.print(f"greatest difference of the two loaders: {levels} of 255 in the image, {share:.1e} of the depth")
    stages = Table("stage, one thread", "images/s", "processor ms")
    for name, rate in benchmark.stage_rates(listed, config, batch_size).items():
        stages.add_row(name, f"{rate:.0f}", f"{1000 / rate:.2f}")
    console.print(stages)
    table = Table("", *loaders, title=f"images/s, {workers} workers, batches of {batch_size}")
    for state in ("cold", "warm"):
        rates = []
        for dataset in loaders.values():
            if state == "cold":
                benchmark.forget(listed, config.cache)
            rates.append(benchmark.loader_rate(dataset, len(listed), batch_size, workers))
        table.add_row(state, f"{rates[0]:.0f}", *(f"{rate:.0f} ({rate / rates[0]:.2f} x)" for rate in rates[1:]))
    console.print(table)


def register(app: Any) -> None:
    """Add the commands to the command line."""
    app.command()(prepare)
    app.command()(benchmark_data)
