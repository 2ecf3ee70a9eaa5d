"""Runs a model over inputs and writes what it answers; what cannot be read is noted and passed over."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.inference import InferenceError, Predictor
from depth_training.evaluation import Camera, predict_depth
from depth_training.prediction.cameras import GivenCameras
from depth_training.prediction.inputs import Input, frames_per_second, read_photo, read_video
from depth_training.prediction.outputs import colour_picture, write_outputs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What to write, and how.

    Attributes:
        kinds: Of ``outputs.KINDS``.
        output: Folder.
        cameras: What is known of them.
        greatest_m: End of the colours' scale, metres.
        stride: Pixels between points of a cloud.
        every: Take one frame of so many.
    """

    kinds: tuple[str, ...]
    output: Path
    cameras: GivenCameras
    greatest_m: float
    stride: int = 1
    every: int = 1


@dataclass
class Outcome:
    """What became of the inputs.

    Attributes:
        images: How many images and frames have depth now.
        unreadable: (file, reason) of the rest.
        without_camera: Files whose camera is unknown: metric scale is the training camera's, and there is no cloud.
    """

    images: int = 0
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    without_camera: list[Path] = field(default_factory=list)


def predict_inputs(
    predictor: Predictor, inputs: Sequence[Input], settings: Settings, outcome: Outcome
) -> Iterator[int]:
    """Work through the inputs; yields how many frames (of :attr:`Input.frames`) each step has dealt with.

    Args:
        predictor: Any opened model.
        inputs: As `list_inputs` finds them.
        settings: What to write.
        outcome: Filled on the way.
    """
    settings.output.mkdir(parents=True, exist_ok=True)
    for given in inputs:
        done = 0
        try:
            frames = _video(predictor, given.path, settings, outcome) if given.is_video else None
            for number in frames or _image(predictor, given.path, settings, outcome):
                reached = min(number + 1, given.frames)
                yield reached - done
                done = reached
        except (ValueError, InferenceError) as error:  # no such file, or a shape that the network does not take
            outcome.unreadable.append((given.path, str(error)))
        yield given.frames - done


def _image(predictor: Predictor, path: Path, settings: Settings, outcome: Outcome) -> Iterator[int]:
    image_rgb = read_photo(path, is_turned=not settings.cameras.are_of_sensor_rows(path.name))
    depth_m, k = _depth(predictor, image_rgb, path, settings, outcome)
    target = settings.output / path.stem
    write_outputs(settings.kinds, target, image_rgb, depth_m, k, settings.greatest_m, settings.stride)
    yield 0


def _video(predictor: Predictor, path: Path, settings: Settings, outcome: Outcome) -> Iterator[int]:
    kinds, film = settings.kinds, None
    folder = settings.output / path.stem
    try:
        for number, image_rgb in read_video(path, settings.every):
            depth_m, k = _depth(predictor, image_rgb, path, settings, outcome)
            if "colour" in settings.kinds:
                picture_rgb = colour_picture(depth_m, settings.greatest_m, image_rgb)
                if film is None:
                    film = _open_film(settings.output / f"{path.stem}_depth.mp4", picture_rgb, path, settings.every)
                    kinds = tuple(kind for kind in kinds if kind != "colour" or not film.isOpened())
                film.write(cv2.cvtColor(_even(picture_rgb), cv2.COLOR_RGB2BGR))
            if kinds:
                folder.mkdir(exist_ok=True)
                target = folder / f"{number:06}"
                write_outputs(kinds, target, image_rgb, depth_m, k, settings.greatest_m, settings.stride)
            yield number
    finally:
        if film is not None:
            film.release()


def _depth(
    predictor: Predictor, image_rgb: np.ndarray, path: Path, settings: Settings, outcome: Outcome
) -> tuple[np.ndarray, np.ndarray | None]:
    size = (image_rgb.shape[0], image_rgb.shape[1])
    camera = settings.cameras.of_image(path.name, size)
    focal = Camera(None, None) if camera is None else Camera(camera.fx, camera.fy)
    depth_m = predict_depth(predictor, image_rgb, focal)
    outcome.images += 1
    if camera is None and path not in outcome.without_camera:
        outcome.without_camera.append(path)
    return depth_m, None if camera is None else camera.matrix(size)


def _open_film(path: Path, picture_rgb: np.ndarray, source: Path, every: int) -> cv2.VideoWriter:
    height, width = _even(picture_rgb).shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    film = cv2.VideoWriter(str(path), code, frames_per_second(source) / every, (width, height))
    if not film.isOpened():
        path.unlink(missing_ok=True)
        logger.warning("this OpenCV has no codec for %s: the frames are written as png instead", path.name)
    return film


def _even(picture: np.ndarray) -> np.ndarray:
    """Sides that codecs take."""
    return picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2]
