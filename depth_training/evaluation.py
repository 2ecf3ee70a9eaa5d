"""Judging a model by the protocol: the same code for checkpoints, exported models and third-party ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from depth_estimation_ros.inference import ModelFileError, resolve_model
from depth_estimation_ros.inference.network_size import choose_network_size
from depth_estimation_ros.inference.predictor import Prediction, Predictor, check_device, load_predictor
from depth_estimation_ros.inference.preprocessing import resize_image
from depth_estimation_ros.inference.torch_backend import choose_device
from depth_training.checkpoint import NetworkBackend, load_checkpoint
from depth_training.confidence import CONFIDENCE_NAMES, confidence_metrics
from depth_training.config import DataConfig
from depth_training.data.intrinsics import focal_lengths_at
from depth_training.data.pairs import Pair, read_pair
from depth_training.intervals import means_and_intervals
from depth_training.metrics import METRIC_NAMES, per_image_means, rooted
from depth_training.protocols import NYU_EIGEN, Protocol, ProtocolError

CHECKPOINT_SUFFIX = ".safetensors"
PRESETS = Path(__file__).parents[1] / "config" / "training"  # in a checkout; an installed package has none


@dataclass(frozen=True)
class Camera:
    """Focal lengths of the camera that took the images, pixels; None where unknown.

    Attributes:
        fx: Horizontal.
        fy: Vertical.
        size: (H, W) of the images that they are of; None for the images at hand, whatever their size.
    """

    fx: float | None
    fy: float | None
    size: tuple[int, int] | None = None

    def at(self, image_size: tuple[int, int]) -> Camera:
        """The same camera's for its images at (H, W), as :func:`focal_lengths_at` takes them."""
        if self.size is None or self.fx is None or self.fy is None:
            return self
        return Camera(*focal_lengths_at((self.fx, self.fy), self.size, image_size))

    @property
    def focal_px(self) -> float | None:
        """Geometric mean of the two, as DESIGN's metric scale takes it."""
        return None if self.fx is None or self.fy is None else math.sqrt(self.fx * self.fy)


def assumed_camera(data: DataConfig) -> Camera:
    """The camera of pairs that do not say theirs: the training camera."""
    return Camera(data.fx, data.fy, (data.camera_height, data.camera_width))


def given_camera(fx: float | None, fy: float | None, data: DataConfig) -> Camera:
    """The camera that a command line tells, pixels of the images at hand; one of the two stands for both.

    Args:
        fx: None where it is not told.
        fy: Likewise.
        data: Of the training camera, which is assumed where neither is told.
    """
    if fx is None and fy is None:
        return assumed_camera(data)
    return Camera(fx or fy, fy or fx)


def camera_of(pair: Pair, fallback: Camera, image_size: tuple[int, ...]) -> Camera:
    """The camera that took a pair's image of (H, W, ...): the pair's own, else the fallback's at that size."""
    if pair.intrinsics is not None:
        return Camera(pair.intrinsics.fx, pair.intrinsics.fy)
    return fallback.at((image_size[0], image_size[1]))


def open_model(model: str, device: str = "auto") -> Predictor:
    """Open a bundled name, an ONNX or .pt2 file, or a .safetensors checkpoint, as one kind of predictor.

    Raises:
        ModelFileError: An exported model that cannot be used, or none; for a preset's name, how to make it.
        CheckpointError: A checkpoint that cannot be used.
        BackendError: An unknown device, or one that this machine does not have.
    """
    check_device(device)
    if not model.endswith(CHECKPOINT_SUFFIX):
        try:
            resolve_model(model)
        except ModelFileError as error:
            preset = PRESETS / f"{model}.yaml"
            if preset.parent != PRESETS or not preset.is_file():
                raise
            raise ModelFileError(
                f"{error}; {preset.name} is a preset: `train --preset config/training/{preset.name} --output RUN "
                "data.pairs=CSV`, then give RUN/model.safetensors"
            ) from None
        return load_predictor(model, device=device)
    network, contract = load_checkpoint(Path(model))
    return Predictor(contract, NetworkBackend(network, contract, str(choose_device(device))))


def focal_ratio(
    focal_px: float, image_size: tuple[int, int], network_size: tuple[int, int], training_px: float
) -> float:
    """Focal length in network pixels over the training camera's: what uncorrected depth is too small by."""
    return focal_px * math.sqrt(network_size[0] / image_size[0] * network_size[1] / image_size[1]) / training_px


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
    ratio = 1.0
    if camera.focal_px is not None and contract.training_focal_px is not None:
        ratio = focal_ratio(camera.focal_px, (height, width), size, contract.training_focal_px)
    resized = resize_image(image_rgb, size, contract.input.resize_filter)
    prediction = predictor.predict(resized, ratio)
    sigma = prediction.log_depth_sigma
    return Prediction(
        resize_image(prediction.depth_m, (height, width), "linear"),
        None if sigma is None else resize_image(sigma, (height, width), "linear"),
    )


def predict_depth(predictor: Predictor, image_rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """The (H, W) float32 metres of :func:`predict_at_image_size` alone."""
    return predict_at_image_size(predictor, image_rgb, camera).depth_m


def predict_under(predictor: Predictor, image_rgb: np.ndarray, camera: Camera, protocol: Protocol) -> Prediction:
    """What a model answers when it is shown an image as a protocol shows it.

    Args:
        predictor: Any opened model.
        image_rgb: (H, W, 3) uint8, of the protocol's size.
        camera: That took it.
        protocol: What is seen of the image, and whether its mirror image is asked too.

    Returns:
        Planes of (H, W) float32, NaN where the protocol shows nothing.
    """
    if protocol.black_outside is not None:
        inside = tuple(slice(*span) for span in protocol.black_outside)
        blackened = np.zeros_like(image_rgb)
        blackened[inside] = image_rgb[inside]
        image_rgb = blackened
    window = protocol.crop if protocol.sees_crop_only else (slice(None), slice(None))
    seen_rgb = np.ascontiguousarray(image_rgb[window])
    prediction = predict_at_image_size(predictor, seen_rgb, camera)
    depth_m: np.ndarray = prediction.depth_m
    sigma: np.ndarray | None = prediction.log_depth_sigma
    if protocol.flip_average:
        mirrored = predict_at_image_size(predictor, np.ascontiguousarray(seen_rgb[:, ::-1]), camera)
        depth_m = (np.clip(depth_m, *protocol.bounds_m) + np.clip(mirrored.depth_m[:, ::-1], *protocol.bounds_m)) / 2
        if sigma is not None and mirrored.log_depth_sigma is not None:
            sigma = (sigma + mirrored.log_depth_sigma[:, ::-1]) / 2
    if protocol.sees_crop_only:
        depth_m = _in_whole_image(depth_m, window, image_rgb.shape[:2])
        sigma = None if sigma is None else _in_whole_image(sigma, window, image_rgb.shape[:2])
    return Prediction(depth_m, sigma)


def _in_whole_image(plane: np.ndarray, window: tuple[slice, slice], size: tuple[int, ...]) -> np.ndarray:
    whole = np.full(size, np.nan, np.float32)
    whole[window] = plane
    return whole


def evenly_spread(pairs: Sequence[Pair], most: int | None) -> list[Pair]:
    """Pick at most so many pairs, evenly over the list, since neighbours are often one room; None takes all."""
    if most is None or most >= len(pairs):
        return list(pairs)
    return [pairs[int(place)] for place in np.linspace(0, len(pairs) - 1, most)]


def evaluate_pairs(
    predictor: Predictor, pairs: Iterable[Pair], camera: Camera, protocol: Protocol = NYU_EIGEN
) -> Iterator[dict[str, float | str]]:
    """Yield one row per pair, as :func:`judge_prediction` makes it, with the image's name.

    Raises:
        PairsError: A pair that cannot be read.
        ProtocolError: A pair that is not of the protocol's size.
    """
    for pair in pairs:
        image_rgb, truth_m = read_pair(pair)
        check_size(pair, truth_m, protocol)
        predicted = predict_under(predictor, image_rgb, camera_of(pair, camera, truth_m.shape), protocol)
        yield {"image": pair.image.name, **judge_prediction(predicted, truth_m, protocol)}


def check_size(pair: Pair, truth_m: np.ndarray, protocol: Protocol) -> None:
    """Refuse a pair whose truth (H, W) is not of the protocol's size.

    Raises:
        ProtocolError: It is not.
    """
    height, width = truth_m.shape
    if not protocol.fits(height, width):
        raise ProtocolError(
            f"{pair.depth} is {width}x{height}, and protocol {protocol.name} compares at {protocol.width}x"
            f"{protocol.height}: choose --protocol whole-image for pairs of another camera than NYU Depth V2's"
        )


def judge_prediction(predicted: Prediction, truth_m: np.ndarray, protocol: Protocol) -> dict[str, float]:
    """Every metric of one image, the number of its known ``pixels``, and the confidence's metrics where there is one.

    Args:
        predicted: Planes of (H, W).
        truth_m: (H, W) metres.
        protocol: Whose size they have.
    """
    means, pixels = per_image_means(_as_batch(predicted.depth_m), _as_batch(truth_m), protocol)
    row = {"pixels": float(pixels), **{name: float(value) for name, value in rooted(means).items()}}
    if predicted.log_depth_sigma is not None:
        row |= confidence_metrics(predicted.depth_m, predicted.log_depth_sigma, truth_m, protocol)
    return row


def _as_batch(depth_m: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(depth_m))[None, None]  # (1, 1, H, W)


def pixel_weights(rows: pd.DataFrame, reduce: str) -> np.ndarray | None:
    """What each image counts: its known pixels where ``reduce`` is ``pooled``; None where all count alike."""
    return rows["pixels"].to_numpy() if reduce == "pooled" else None


def summarise(rows: pd.DataFrame, model: str, protocol: Protocol = NYU_EIGEN, reduce: str = "image") -> dict:
    """Each metric with its bootstrap interval, and what was measured how.

    Args:
        rows: As :func:`evaluate_pairs` yields them.
        model: Its name.
        protocol: That the rows were made under.
        reduce: ``image`` (mean over images) or ``pooled`` (all known pixels alike; the confidence stays per image).

    Returns:
        The metrics by name, ``interval95`` (low and high by name), ``images``, ``protocol`` and ``model``; where the
        model has a confidence, ``confidence`` holds its metrics and their ``interval95`` likewise.

    Raises:
        ProtocolError: Not a single image has a known pixel under the protocol.
    """
    measured = rows.dropna(subset=list(METRIC_NAMES))
    if measured.empty:
        raise ProtocolError(
            f"none of {len(rows)} depth maps has a pixel that protocol {protocol.name} compares (truth between "
            f"{protocol.least_depth_m:g} and {protocol.greatest_depth_m:g} m): check the pairs' depth"
        )
    result = {
        **means_and_intervals(measured, METRIC_NAMES, pixel_weights(measured, reduce)),
        "images": len(measured),
        "protocol": protocol.describe(reduce),
        "model": model,
    }
    if set(CONFIDENCE_NAMES) <= set(rows.columns):
        result["confidence"] = means_and_intervals(measured, CONFIDENCE_NAMES)
    return result
