"""What can be judged: a model, or a folder of predictions, asked for its depth in the same way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol as Interface

import numpy as np

from depth_estimation_ros.inference.predictor import Prediction, Predictor
from depth_training.data.pairs import Pair, read_depth
from depth_training.evaluation import Camera, assumed_camera, camera_of, evenly_spread, open_model, predict_under
from depth_training.initialisation import training_camera
from depth_training.judging.prediction_files import (
    PredictionsError,
    check_predicted_unit,
    match_predictions,
    name_some,
    read_prediction,
    resize_known,
)
from depth_training.protocols import Protocol

IMAGES_TO_JUDGE_UNIT_BY = 20
LEAST_SPREAD = 1e-4
"""Of ln(depth) within an image; what varies less has no shape to be correlated with."""


class DepthSource(Interface):
    """Something that answers with depth for a pair.

    Attributes:
        name: What tables call it.
        missing: Names of the images for which it has no answer.
    """

    name: str
    missing: list[str]

    @property
    def model_name(self) -> str:
        """What files call it: a model's own name."""

    def answers(self, pair: Pair) -> bool:
        """Whether it can be asked for this pair."""

    def predict(self, pair: Pair, image_rgb: np.ndarray) -> Prediction:
        """Planes of the image's (H, W)."""

    def remarks(self) -> list[str]:
        """What a reader of the figures must know, once all pairs have been asked."""


@dataclass
class ModelSource:
    """A model, run as a protocol says."""

    name: str
    predictor: Predictor
    camera: Camera
    protocol: Protocol
    missing: list[str] = field(default_factory=list)
    assumed: Counter[tuple[int, int, float]] = field(default_factory=Counter)
    """Images of (H, W) that were taken for the camera's, with the focal length (pixels) that it has at that size."""

    @property
    def model_name(self) -> str:
        """The contract's."""
        return self.predictor.contract.name

    def answers(self, pair: Pair) -> bool:
        """Always."""
        return True

    def predict(self, pair: Pair, image_rgb: np.ndarray) -> Prediction:
        """As :func:`predict_under`, by the pair's camera."""
        size = (image_rgb.shape[0], image_rgb.shape[1])
        camera = camera_of(pair, self.camera, size)
        if pair.intrinsics is None and self.camera.size is not None and camera.focal_px is not None:
            self.assumed[(*size, camera.focal_px)] += 1
        return predict_under(self.predictor, image_rgb, camera, self.protocol)

    def remarks(self) -> list[str]:
        """Which focal lengths were assumed, for images of another size or a model of another training camera."""
        trained, lines = assumed_camera(training_camera(self.predictor.contract)), []
        for (height, width, focal_px), count in self.assumed.items():
            trained_px = trained.at((height, width)).focal_px
            assert trained_px is not None  # a camera of settings has one
            if self.camera.size == (height, width) and math.isclose(focal_px, trained_px, rel_tol=0.01):
                continue
            lines.append(
                f"{self.name}: {count} images of {width}x{height} do not say their focal length (columns fx, fy): "
                f"taken to show as much as NYU Depth V2's, {focal_px:.1f} pixels (the model's training camera has "
                f"{trained_px:.1f} there); --fx and --fy give another"
            )
        return lines


class FolderSource:
    """A folder of predictions: files of the images' names."""

    def __init__(self, name: str, folder: Path, pairs: Sequence[Pair], unit: str, protocol: Protocol):
        """Match the files to the pairs and check their unit.

        Raises:
            PredictionsError: As :func:`match_predictions` and :func:`check_predicted_unit`.
        """
        self.name = self.model_name = name
        self._unit, self._protocol = unit, protocol
        files = match_predictions(folder, pairs)
        self._files = {pair.image: path for pair, path in zip(pairs, files, strict=True) if path is not None}
        self.missing = [pair.image.name for pair in pairs if pair.image not in self._files]
        self._resized: Counter[tuple[int, int]] = Counter()
        self._check_unit([pair for pair in pairs if pair.image in self._files])
        self._resized.clear()

    def answers(self, pair: Pair) -> bool:
        """Whether there is a file for it."""
        return pair.image in self._files

    def predict(self, pair: Pair, image_rgb: np.ndarray) -> Prediction:
        """The file's depth, brought to the image's size."""
        return Prediction(self._read(pair, (image_rgb.shape[0], image_rgb.shape[1])), None)

    def remarks(self) -> list[str]:
        """Which images are missing, which predictions were resized, and whether the protocol wants mirrored images."""
        lines = []
        if self.missing:
            lines.append(f"{self.name}: no prediction for {len(self.missing)} images: {name_some(self.missing)}")
        for (height, width), count in self._resized.items():
            lines.append(f"{self.name}: {count} predictions resized from {width}x{height}")
        if self._protocol.flip_average:
            lines.append(f"{self.name}: taken as they are; averaging with the mirror image was up to who made them")
        return lines

    def _read(self, pair: Pair, size: tuple[int, int]) -> np.ndarray:
        depth_m = read_prediction(self._files[pair.image], self._unit)
        if depth_m.shape == size:
            return depth_m
        sampled = self._protocol.sampled
        if sampled is not None and depth_m.shape == (len(sampled[0]), len(sampled[1])):
            whole = np.full(size, np.nan, np.float32)
            whole[np.ix_(*sampled)] = depth_m
            return whole
        self._resized[(depth_m.shape[0], depth_m.shape[1])] += 1
        return resize_known(depth_m, size)

    def _check_unit(self, pairs: Sequence[Pair]) -> None:
        ratios, correlations = [], []
        for pair in evenly_spread(pairs, IMAGES_TO_JUDGE_UNIT_BY):
            truth_m = read_depth(pair.depth)
            depth_m = self._read(pair, (truth_m.shape[0], truth_m.shape[1]))
            known = (truth_m > 0) & (depth_m > 0)
            if not known.any():
                continue
            depth, truth = np.log(depth_m[known]), np.log(truth_m[known])
            ratios.append(np.median(depth - truth))
            if min(depth.std(), truth.std()) > LEAST_SPREAD:  # a constant's is not zero in float32
                correlations.append(np.corrcoef(depth, truth)[0, 1])
        if not ratios:
            raise PredictionsError(f"the predictions in {self.name} are zero or unknown everywhere: write metres")
        suffix = self._files[pairs[0].image].suffix.lower()
        correlation = float(np.median(correlations)) if correlations else 0.0
        check_predicted_unit(float(np.exp(np.median(ratios))), correlation, suffix, self._unit)


def open_source(
    text: str, pairs: Sequence[Pair], camera: Camera, protocol: Protocol, device: str = "auto", unit: str = "mm"
) -> DepthSource:
    """Open a folder of predictions, or else a model as :func:`open_model` does.

    Args:
        text: A folder, a bundled model's name, or a model file.
        pairs: That will be asked for.
        camera: That took the pairs which do not say it.
        protocol: What is shown to a model.
        device: Of a model.
        unit: Of predictions in png files.
    """
    if Path(text).is_dir():
        return FolderSource(text, Path(text), pairs, unit, protocol)
    return ModelSource(text, open_model(text, device), camera, protocol)
