"""Judging a model by the protocol: the same code for checkpoints, exported models and third-party ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from depth_estimation_ros.inference.network_size import choose_network_size
from depth_estimation_ros.inference.predictor import Predictor, load_predictor
from depth_estimation_ros.inference.preprocessing import resize_image
from depth_training.checkpoint import NetworkBackend, load_checkpoint
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


def predict_depth(predictor: Predictor, image_rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """Metric depth of an image at the image's own size.

    Args:
        predictor: Any opened model.
        image_rgb: (H, W, 3) uint8.
        camera: Its focal length chooses the network's size and corrects the rest of the scale, as on a robot.

    Returns:
        (H, W) float32 metres.
    """
    height, width = image_rgb.shape[:2]
    contract = predictor.contract
    size = choose_network_size(contract, height, width, camera.focal_px, None)
    focal_ratio = 1.0
    if camera.focal_px is not None and contract.training_focal_px is not None:
        f_network = camera.focal_px * math.sqrt(size[0] / height * size[1] / width)
        focal_ratio = f_network / contract.training_focal_px
    resized = resize_image(image_rgb, size, contract.input.resize_filter)
    depth_m = predictor.predict(resized, focal_ratio).depth_m
    return cv2.resize(depth_m, (width, height), interpolation=cv2.INTER_LINEAR)


def evaluate_pairs(
    predictor: Predictor, pairs: Iterable[Pair], camera: Camera, protocol: Protocol = NYU_EIGEN
) -> Iterator[dict[str, float | str]]:
    """Yield one row per pair: the image's name and every metric.

    Raises:
        PairsError: A pair that cannot be read, or not of the protocol's size.
    """
    for pair in pairs:
        image_rgb, depth_m = read_pair(pair)
        predicted_m = predict_depth(predictor, image_rgb, camera_of(pair, camera))
        metrics = per_image_metrics(_as_batch(predicted_m), _as_batch(depth_m), protocol)
        yield {"image": pair.image.name, **{name: float(value) for name, value in metrics.items()}}


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
        The metrics by name, ``interval95`` (low and high by name), ``images``, ``protocol`` and ``model``.
    """
    measured = rows.dropna(subset=list(METRIC_NAMES))
    means = {name: float(measured[name].mean()) for name in METRIC_NAMES}
    intervals = {name: bootstrap_interval(measured[name].to_numpy()) for name in METRIC_NAMES}
    return {
        **means,
        "interval95": intervals,
        "images": len(measured),
        "protocol": protocol.describe(),
        "model": model,
    }
