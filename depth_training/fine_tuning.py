"""Fine-tuning to the user's own camera: a recording as it is, and what was gained and lost by it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import pandas as pd
import torch
from rich.table import Table

from depth_training.config import DataConfig, TrainingConfig
from depth_training.data.pairs import Pair, PairsError, read_pair, read_pairs
from depth_training.data.prepare import prepare
from depth_training.data.sources import detect_kind
from depth_training.data.sources.bag import BagOptions, open_bag
from depth_training.data.splits import consecutive_blocks, pairs_and_test_pairs, replayed_and_test_pairs
from depth_training.evaluation import assumed_camera, camera_of, evenly_spread, open_model, predict_at_image_size
from depth_training.files import write_whole
from depth_training.intervals import mean_and_interval
from depth_training.metrics import METRIC_NAMES, per_image_metrics
from depth_training.protocols import PROTOCOLS

# Of a video's neighbouring frames the second teaches nothing new.
SPACING_S = 0.25
# Training, validation and test each need one.
LEAST_SEGMENTS = 3
MOST_JUDGED = 100
SHOWN = ("abs_rel", "rmse", "delta1")

logger = logging.getLogger(__name__)


def find_pairs(data: Path, run: Path) -> Path:
    """The pairs file of what the user has: a pairs file, a prepared folder, or a recording, which is prepared.

    Args:
        data: As the user gave it.
        run: Folder of the run; a recording's pairs go to ``data/`` in it, once.

    Raises:
        PairsError: It is none of these, or the recording cannot be used.
    """
    if data.suffix == ".csv" or data.joinpath("pairs.csv").is_file():
        return data if data.suffix == ".csv" else data / "pairs.csv"
    kind = detect_kind(data)
    if kind != "bag":
        raise PairsError(f"{data} is no recording but {kind}: turn it into pairs by `prepare` first, and give those")
    # Made again, or another of the same name, it is prepared anew.
    folder = run / "data" / _fingerprint(data) / data.name
    if not folder.joinpath("pairs.csv").is_file():
        try:
            recording = open_bag(data, BagOptions(spacing_s=SPACING_S))
        except PairsError as error:
            raise PairsError(
                f"{error}: options are those of `prepare {data} --spacing {SPACING_S} --output FOLDER`; then give "
                "--data FOLDER"
            ) from error
        result = prepare(recording.samples, folder)
        logger.info("%s: %d pairs, median depth %.2f m", result.pairs, result.written, result.median_depth_m)
        if result.unreadable:
            logger.warning(
                "%d left out (unreadable.csv), the first: %s", len(result.unreadable), result.unreadable[0][1]
            )
    return folder / "pairs.csv"


def _fingerprint(recording: Path) -> str:
    files = sorted(path for path in [recording, *recording.rglob("*")] if path.is_file())
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:12]


def check_data(config: DataConfig) -> None:
    """See that there is something to train on, to choose by and to judge by; warn where nothing is replayed.

    Raises:
        PairsError: The pairs are of too few rooms or stretches.
    """
    segments = len(consecutive_blocks(read_pairs(Path(config.pairs))))
    if config.split == "blocks" and config.test_share and segments < LEAST_SEGMENTS:
        raise PairsError(
            f"{config.pairs} has {segments} segments (rooms, or stretches of 20 seconds): training, validation and "
            "test need one each, so record for a minute or more, in several rooms"
        )
    if not config.replay_pairs:
        logger.warning("nothing is replayed: what the network knew may be forgotten; --replay gives its old pairs")


def judge(model: str, pairs: Sequence[Pair], config: DataConfig) -> pd.DataFrame:
    """Measure a model as a robot would run it, on whole images, in metres of the camera that took them.

    Returns:
        One row per pair: the image's name and every metric.
    """
    predictor, rows = open_model(model), []
    for pair in pairs:
        image_rgb, depth_m = read_pair(pair)
        camera = camera_of(pair, assumed_camera(config), depth_m.shape)
        predicted_m = predict_at_image_size(predictor, image_rgb, camera).depth_m
        metrics = per_image_metrics(
            torch.from_numpy(predicted_m)[None, None], torch.from_numpy(depth_m)[None, None], PROTOCOLS["whole-image"]
        )
        rows.append({"image": pair.image.name, **{name: float(value) for name, value in metrics.items()}})
    return pd.DataFrame(rows)


def compare_before_and_after(config: TrainingConfig, before: Path, after: Path, run: Path) -> Table | None:
    """Judge both networks on what neither training nor validation saw, and on what the old one knew.

    Writes ``fine_tuning.csv`` (a row per image, before and after) and ``fine_tuning.json`` (means) to the run.

    Returns:
        A table for the console, differences with their 95 % bootstrap interval over images; None where nothing was held
        apart.
    """
    cv2.setNumThreads(1)
    seed = config.optimiser.seed
    sets = {
        "held-out segments": pairs_and_test_pairs(config.data, seed)[1],
        "base set, held apart": replayed_and_test_pairs(config.data, seed)[1],
    }
    table = Table("", "pairs", *(f"{name}: before, after, difference" for name in SHOWN))
    models = ((before, "_before"), (after, "_after"))
    results, rows = {}, []
    for name, pairs in sets.items():
        if not pairs:
            continue
        chosen = evenly_spread(pairs, MOST_JUDGED)
        sides = [judge(str(model), chosen, config.data).add_suffix(side) for model, side in models]
        joined = pd.concat(sides, axis=1).dropna()  # an image without depth in range has no metrics
        rows.append(joined.assign(set=name))
        results[name] = {"pairs": len(joined), **joined.mean(numeric_only=True).to_dict()}
        table.add_row(name, str(len(joined)), *(_cell(joined, metric) for metric in SHOWN))
    if not rows:
        return None
    pd.concat(rows).to_csv(run / "fine_tuning.csv", index=False)
    write_whole(run / "fine_tuning.json", json.dumps(results, indent=2) + "\n")
    return table


def _cell(joined: pd.DataFrame, metric: str) -> str:
    assert metric in METRIC_NAMES
    before, after = joined[f"{metric}_before"], joined[f"{metric}_after"]
    difference, (low, high) = mean_and_interval((after - before).to_numpy())
    return f"{before.mean():.3f}, {after.mean():.3f}, {difference:+.3f} ({low:+.3f} to {high:+.3f})"
