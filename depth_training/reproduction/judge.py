"""Measuring one finished run: the paper's metrics and its loss, image by image, on every part of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import track
from torch import nn
from torch.nn import functional as F

from depth_estimation_ros.inference.predictor import Predictor
from depth_training.checkpoint import NetworkBackend, load_checkpoint
from depth_training.config import TrainingConfig
from depth_training.data.dataset import FullPairs
from depth_training.data.pairs import Pair, read_pairs
from depth_training.evaluation import assumed_camera, evaluate_pairs, summarise
from depth_training.losses import PaperLoss
from depth_training.reproduction.experiments import Experiment
from depth_training.reproduction.split_files import split_folder

CENTIMETRES = 100.0


def judged_parts(output: Path, experiment: Experiment) -> dict[str, Path]:
    """CSV of each part that a run is judged on: the held-out test, and its own split's validation and test."""
    own = split_folder(output, experiment.split, experiment.subset)
    return {
        "heldout": output / "splits" / "heldout.csv",
        "validation": own / "validation.csv",
        "test": own / "test.csv",
    }


def loss_in(terms: dict[str, float], lambda_depth: float, units_per_metre: float = 1.0) -> float:
    """The paper's loss from its terms in metres, told in another unit: SSIM has none, the other two scale with it."""
    return units_per_metre * (lambda_depth * terms["depth_l1"] + terms["gradient"]) + terms["ssim"]


@torch.inference_mode()
def loss_rows(network: nn.Module, pairs: Sequence[Pair], config: TrainingConfig) -> Iterator[dict[str, float]]:
    """Yield the paper's loss of each image at the network's output size, as in training but on the whole image.

    Args:
        network: In evaluation mode.
        pairs: To judge on.
        config: Settings of the run.
    """
    loss = PaperLoss(config.loss)
    device = next(network.parameters()).device
    for image, truth_m in FullPairs(pairs, config.data):  # type: ignore[attr-defined]
        predicted_m = network(image[None].to(device).float() / 255)[0].float()  # (1, 1, h/2, w/2)
        truth_m = F.interpolate(truth_m[None].to(device), size=predicted_m.shape[-2:], mode="nearest-exact")
        terms = {name: float(value) for name, value in loss(predicted_m, truth_m).items()}
        yield {
            "loss_m": loss_in(terms, loss.lambda_depth),
            "loss_cm": loss_in(terms, loss.lambda_depth, CENTIMETRES),
        }


def judge_run(output: Path, experiment: Experiment, config: TrainingConfig, run: Path) -> dict[str, Any]:
    """Measure ``model.safetensors`` of a run on each part; writes ``PART.csv`` beside it, one row per image.

    Returns:
        For each part the means with their intervals, and how much was trained on.
    """
    network, contract = load_checkpoint(run / "model.safetensors")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    predictor = Predictor(contract, NetworkBackend(network, contract, device))
    camera = assumed_camera(config.data)
    result: dict[str, Any] = {}
    for part, csv in judged_parts(output, experiment).items():
        pairs = read_pairs(csv)
        rows = track(evaluate_pairs(predictor, pairs, camera), f"judging on {part}", len(pairs))
        losses = list(loss_rows(network, pairs, config))
        table = pd.concat([pd.DataFrame(rows), pd.DataFrame(losses)], axis=1)
        table.to_csv(run / f"{part}.csv", index=False)
        means = {name: float(table[name].mean()) for name in ("loss_m", "loss_cm")}
        result[part] = {**summarise(table, contract.name), **means}
    return {**result, **trained_on(run, config)}


def trained_on(run: Path, config: TrainingConfig) -> dict[str, int]:
    """How many images there were, and how many were seen; the last, incomplete batch of an epoch is left out."""
    images = len(read_pairs(Path(config.data.pairs)))
    # The last epoch's number: a stop in the middle of writing the log loses the rows that it held.
    epochs, batch = int(read_curve(run)["epoch"].max()), config.optimiser.batch_size
    return {"training_images": images, "epochs": epochs, "samples_seen": epochs * (images // batch) * batch}


def read_curve(run: Path) -> pd.DataFrame:
    """One row per epoch of what the run logged, over all its starts, with the loss in metres and centimetres.

    Columns ``epoch``, ``loss_m``, ``loss_cm`` (training, augmented crops) and, where validated, ``val_abs_rel``. An
    epoch that was repeated after a stop counts as it was the last time.
    """
    logs = sorted(run.glob("logs/version_*/metrics.csv"), key=lambda log: int(log.parent.name.rpartition("_")[2]))
    table = pd.concat([pd.read_csv(log) for log in logs], ignore_index=True).groupby("epoch").last().reset_index()
    terms = {name: table[f"train/{name}"] for name in ("depth_l1", "gradient", "ssim")}
    # The run's own sum holds lambda; what is left of it without the others is lambda * L1.
    weighted_l1_m = table["train/loss"] - terms["gradient"] - terms["ssim"]
    return pd.DataFrame(
        {
            "epoch": table["epoch"].astype(int) + 1,
            "loss_m": table["train/loss"],
            "loss_cm": CENTIMETRES * (weighted_l1_m + terms["gradient"]) + terms["ssim"],
            "val_abs_rel": table.get("val/abs_rel", np.nan),
        }
    )
