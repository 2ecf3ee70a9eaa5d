"""Judging a model by the protocol: the same code for checkpoints, exported models and third-party ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from depth_estimation_ros.inference.network_size import choose_network_size
from depth_estimation_ros.inference.predictor import Prediction, Predictor, load_predictor
from depth_estimation_ros.inference.preprocessing import resize_image
from depth_training.checkpoint import NetworkBackend, load_checkpoint
from depth_training.confidence import CONFIDENCE_NAMES, confidence_metrics
from depth_training.data.pairs import Pair, read_pair
from depth_training.metrics import METRIC_NAMES, NYU_EIGEN, Protocol, per_image_metrics

CHECKPOINT_SUFFIX = ".safetensors"
BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class Camera:
    """Focal lengths of the camera that took the images, pixels at full size; None where unknown."""

    fx: float | None
    fy: float | None

    @property
    def focal_px(self) -> float | None:
        """Geometric mean of the two, as DESIGN's metric scale takes it."""
        return None if self.fx is None or self.fy is None else math.sqrt(self.fx * self.fy)


def camera_of(pair: Pair, fallback: Camera) -> Camera:
    """The camera that took a pair, where the pair says it."""
    return fallback if pair.intrinsics is None else Camera(pair.intrinsics.fx, pair.intrinsics.fy)


def open_model(model: str, device: str = "auto") -> Predictor:
    """Open a bundled name, an ONNX or .pt2 file, or a .safetensors checkpoint, as one kind of predictor.

    Raises:
        ModelFileError: An exported model that cannot be used.
        CheckpointError: A checkpoint that cannot be used.
    """
    if not model.endswith(CHECKPOINT_SUFFIX):
        return load_predictor(model, device=device)
    network, contract = load_checkpoint(Path(model))
    torch_device = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    return Predictor(contract, NetworkBackend(network, contract, torch_device))


def predict_at_image_size(predictor: Predictor, image_rgb: np.ndarray, camera: Camera) -> Prediction:
    """Metric depth, and confidence where the model has one, at the image's own size.

    Args:
        predictor: Any opened model.
        image_rgb: (H, W, 3) uint8.
        camera: Its focal length chooses the network's size and corrects the rest of the scale, as on a robot.

    Returns:
        Planes of (H, W) float32.
    """
    height, width = image_rgb.shape[:2]
    contract = predictor.contract
    size = choose_network_size(contract, height, width, camera.focal_px, None)
    focal_ratio = 1.0
    if camera.focal_px is not None and contract.training_focal_px is not None:
        f_network = camera.focal_px * math.sqrt(size[0] / height * size[1] / width)
        focal_ratio = f_network / contract.training_focal_px
    resized = resize_image(image_rgb, size, contract.input.resize_filter)
    prediction = predictor.predict(resized, focal_ratio)
    sigma = prediction.log_depth_sigma
    return Prediction(
        resize_image(prediction.depth_m, (height, width), "linear"),
        None if sigma is None else resize_image(sigma, (height, width), "linear"),
    )


def predict_depth(predictor: Predictor, image_rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """The (H, W) float32 metres of :func:`predict_at_image_size` alone."""
    return predict_at_image_size(predictor, image_rgb, camera).depth_m


def evenly_spread(pairs: Sequence[Pair], most: int | None) -> list[Pair]:
    """Pick at most so many pairs, evenly over the list, since neighbours are often one room; None takes all."""
    if most is None or most >= len(pairs):
        return list(pairs)
    return [pairs[int(place)] for place in np.linspace(0, len(pairs) - 1, most)]


def evaluate_pairs(
    predictor: Predictor, pairs: Iterable[Pair], camera: Camera, protocol: Protocol = NYU_EIGEN
) -> Iterator[dict[str, float | str]]:
    """Yield one row per pair: the image's name, every metric, and those of the confidence where the model has one.

    Raises:
        PairsError: A pair that cannot be read, or not of the protocol's size.
    """
    for pair in pairs:
        image_rgb, depth_m = read_pair(pair)
        predicted = predict_at_image_size(predictor, image_rgb, camera_of(pair, camera))
        metrics = per_image_metrics(_as_batch(predicted.depth_m), _as_batch(depth_m), protocol)
        row: dict[str, float | str] = {name: float(value) for name, value in metrics.items()}
        if predicted.log_depth_sigma is not None:
            row |= confidence_metrics(predicted.depth_m, predicted.log_depth_sigma, depth_m, protocol)
        yield {"image": pair.image.name, **row}


def _as_batch(depth_m: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(depth_m))[None, None]  # (1, 1, H, W)


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over images, by resampling the images with replacement."""
    draws = np.random.default_rng(seed).integers(0, len(values), (BOOTSTRAP_SAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def summarise(rows: pd.DataFrame, model: str, protocol: Protocol = NYU_EIGEN) -> dict:
    """Mean of each metric with its bootstrap interval, and what was measured how.

    Returns:
        The metrics by name, ``interval95`` (low and high by name), ``images``, ``protocol`` and ``model``; where the
        model has a confidence, ``confidence`` holds its metrics and their ``interval95`` likewise.
    """
    measured = rows.dropna(subset=list(METRIC_NAMES))
    result = {
        **_means_and_intervals(measured, METRIC_NAMES),
        "images": len(measured),
        "protocol": protocol.describe(),
        "model": model,
    }
    if set(CONFIDENCE_NAMES) <= set(rows.columns):
        result["confidence"] = _means_and_intervals(measured, CONFIDENCE_NAMES)
    return result


def _means_and_intervals(rows: pd.DataFrame, names: tuple[str, ...]) -> dict:
    means = {name: float(rows[name].mean()) for name in names}
    return {**means, "interval95": {name: bootstrap_interval(rows[name].to_numpy()) for name in names}}
