"""Going on from a trained network: its architecture and camera, the user's recording, and what was gained and lost."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import pandas as pd
import torch
from rich.table import Table

from depth_estimation_ros.inference.contract import ModelContract
from depth_training.checkpoint import load_checkpoint
from depth_training.config import ConfigError, DataConfig, NetworkConfig, TrainingConfig, load_config
from depth_training.data.dataset import source_matrix, training_focal
from depth_training.data.pairs import Pair, PairsError, read_pair, read_pairs
from depth_training.data.prepare import prepare
from depth_training.data.sources import detect_kind
from depth_training.data.sources.bag import BagOptions, open_bag
from depth_training.data.splits import consecutive_blocks, pairs_and_test_pairs, replayed_and_test_pairs
from depth_training.evaluation import Camera, bootstrap_interval, evenly_spread, open_model, predict_at_image_size
from depth_training.files import write_whole
from depth_training.metrics import METRIC_NAMES, NYU_EIGEN, Protocol, per_image_metrics

BUNDLED = Path(__file__).parent / "models"
# What training does with the layers; everything else of the network is in its weights.
FREE_KEYS = ("freeze_encoder", "frozen_stages")
# Of a video's neighbouring frames the second teaches nothing new.
SPACING_S = 0.25
# Training, validation and test each need one.
LEAST_SEGMENTS = 3
MOST_JUDGED = 100
SHOWN = ("abs_rel", "rmse", "delta1")

logger = logging.getLogger(__name__)


def find_checkpoint(init: str) -> Path:
    """The file of a bundled name, such as ``default``, or of a path.

    Raises:
        ConfigError: It is neither.
    """
    path, bundled = Path(init), BUNDLED / f"{init}.safetensors"
    if path.is_file() or bundled.is_file():
        return path if path.is_file() else bundled
    names = ", ".join(sorted(file.stem for file in BUNDLED.glob("*.safetensors")))
    raise ConfigError(f"--init {init} is neither a bundled checkpoint ({names}) nor a .safetensors file: give one")


def resolve_config(preset: Path | None, overrides: list[str], init: str) -> TrainingConfig:
    """Settings of a run that starts from a checkpoint: the network and the training camera are the checkpoint's.

    Args:
        preset: As :func:`load_config` takes it.
        overrides: Likewise.
        init: Bundled name or path.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigError: Preset or overrides want another network or another training camera.
    """
    network, contract = load_checkpoint(find_checkpoint(init))
    base = TrainingConfig(init=init, network=network.config, data=_data_of(contract))
    config = load_config(preset, overrides, base)
    _refuse_another_network(network.config, config.network, init)
    _refuse_another_camera(contract, config.data, init)
    return config


def _data_of(contract: ModelContract) -> DataConfig:
    data = DataConfig(native_height=contract.input.native_height, native_width=contract.input.native_width)
    if contract.training_fx and contract.training_fy:
        data.fx = contract.training_fx * data.camera_width / data.native_width
        data.fy = contract.training_fy * data.camera_height / data.native_height
    return data


def _refuse_another_network(has: NetworkConfig, asked: NetworkConfig, init: str) -> None:
    before, now = dataclasses.asdict(has), dataclasses.asdict(asked)
    changed = [key for key in before if before[key] != now[key] and key not in FREE_KEYS]
    if changed:
        raise ConfigError(
            f"{', '.join(f'network.{key}={now[key]}' for key in changed)} contradicts the checkpoint {init}, which has "
            f"{', '.join(str(before[key]) for key in changed)}: leave it out, or train without --init"
        )


def _refuse_another_camera(contract: ModelContract, data: DataConfig, init: str) -> None:
    size = (contract.input.native_height, contract.input.native_width)
    focal, trained = training_focal(data), (contract.training_fx, contract.training_fy)
    same = all(has is None or math.isclose(has, asked, rel_tol=1e-3) for has, asked in zip(trained, focal, strict=True))
    if (data.native_height, data.native_width) != size or not same:
        raise ConfigError(
            f"the training camera of {init} has {size[1]}x{size[0]} pixels and focal lengths {trained}, the settings "
            f"ask for {data.native_width}x{data.native_height} and {focal}: leave data.native_height, "
            "data.native_width, data.fx and data.fy out; another camera's focal length belongs to its pairs (fx, fy)"
        )


def load_weights(module: torch.nn.Module, init: str) -> None:
    """Give a network the weights of a checkpoint of the same architecture, in place."""
    module.load_state_dict(load_checkpoint(find_checkpoint(init))[0].state_dict())


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
    folder = run / "data" / data.stem
    if not folder.joinpath("pairs.csv").is_file():
        result = prepare(open_bag(data, BagOptions(spacing_s=SPACING_S)).samples, folder)
        logger.info("%s: %d pairs, median depth %.2f m", result.pairs, result.written, result.median_depth_m)
    return folder / "pairs.csv"


def check_segments(config: DataConfig) -> None:
    """See that there is something to train on, to choose by and to judge by.

    Raises:
        PairsError: The pairs are of too few rooms or stretches.
    """
    segments = len(consecutive_blocks(read_pairs(Path(config.pairs))))
    if config.split == "blocks" and config.test_share and segments < LEAST_SEGMENTS:
        raise PairsError(
            f"{config.pairs} has {segments} segments (rooms, or stretches of 20 seconds): training, validation and "
            f"test need one each, so record for a minute or more, in several rooms"
        )


def judge(model: str, pairs: Sequence[Pair], config: DataConfig) -> pd.DataFrame:
    """Measure a model as a robot would run it, on whole images, in metres of the camera that took them.

    Returns:
        One row per pair: the image's name and every metric.
    """
    predictor, rows = open_model(model), []
    for pair in pairs:
        image_rgb, depth_m = read_pair(pair)
        height, width = depth_m.shape
        k = source_matrix(pair, config, (height, width))
        predicted_m = predict_at_image_size(predictor, image_rgb, Camera(k[0, 0], k[1, 1])).depth_m
        whole = Protocol("whole image", height, width, (0, height), (0, width), NYU_EIGEN.least_depth_m, 10.0)
        metrics = per_image_metrics(
            torch.from_numpy(predicted_m)[None, None], torch.from_numpy(depth_m)[None, None], whole
        )
        rows.append({"image": pair.image.name, **{name: float(value) for name, value in metrics.items()}})
    return pd.DataFrame(rows)


def compare_before_and_after(config: TrainingConfig, before: Path, after: Path, run: Path) -> Table:
    """Judge both networks on what neither training nor validation saw, and on what the old one knew.

    Writes ``fine_tuning.csv`` (a row per image, before and after) and ``fine_tuning.json`` (means) to the run.

    Returns:
        A table for the console; differences with their 95 % bootstrap interval over images.
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
        joined = pd.concat(sides, axis=1)
        rows.append(joined.assign(set=name))
        results[name] = {"pairs": len(joined), **joined.mean(numeric_only=True).to_dict()}
        table.add_row(name, str(len(joined)), *(_cell(joined, metric) for metric in SHOWN))
    pd.concat(rows).to_csv(run / "fine_tuning.csv", index=False)
    write_whole(run / "fine_tuning.json", json.dumps(results, indent=2) + "\n")
    return table


def _cell(joined: pd.DataFrame, metric: str) -> str:
    assert metric in METRIC_NAMES
    before, after = joined[f"{metric}_before"], joined[f"{metric}_after"]
    low, high = bootstrap_interval((after - before).to_numpy())
    return f"{before.mean():.3f}, {after.mean():.3f}, {(after - before).mean():+.3f} ({low:+.3f} to {high:+.3f})"
