"""What the user points at: images, folders of images, videos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")


class InputError(ValueError):
    """An input that cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True)
class Input:
    """One file to read.

    Attributes:
        path: Where it lies.
        is_video: Or an image.
        frames: Number of frames that it says it has, at least 1.
    """

    path: Path
    is_video: bool
    frames: int = 1


def list_inputs(paths: Sequence[Path]) -> list[Input]:
    """Find the files that are meant; of a folder the images and videos in it, true depth (``*_depth.png``) left out.

    Raises:
        InputError: Something does not exist, nothing is there, an unknown kind of file, or two files of one name.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    inputs: list[Input] = []
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if _is_known(file) and not file.stem.endswith("_depth"))
            if not found:
                raise InputError(f"folder {path} holds no image or video: give one that does")
            inputs += map(_input, found)
        elif not path.is_file():
            raise InputError(f"{path} does not exist: give images, folders or videos")
        elif not _is_known(path):
            known = ", ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
            raise InputError(f"{path} ends in {path.suffix!r}, and what can be read ends in {known}")
        else:
            inputs.append(_input(path))
    by_stem: dict[str, Path] = {}
    for given in inputs:
        other = by_stem.setdefault(given.path.stem, given.path)
        if other != given.path:
            raise InputError(f"{other} and {given.path} would be written to the same files: run them one after another")
    return list({given.path: given for given in inputs}.values())


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES


def _input(path: Path) -> Input:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Input(path, False)
    capture = cv2.VideoCapture(str(path))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    return Input(path, True, max(frames, 1))


def read_photo(path: Path, is_turned: bool = True) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB.

    Args:
        path: Of the file.
        is_turned: Turn it upright where its camera noted (EXIF) how it was held.

    Raises:
        InputError: It cannot be decoded.
    """
    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | (0 if is_turned else cv2.IMREAD_IGNORE_ORIENTATION))
    if image_bgr is None:
        raise InputError("cannot be decoded as an image")
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)


def read_video(path: Path, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Yield every so many frames of a video: its number, and the (H, W, 3) uint8 RGB.

    Raises:
        InputError: It cannot be opened, or has no frame that can be decoded.
    """
    capture = cv2.VideoCapture(str(path))
    number = 0
    try:
        while capture.isOpened() and capture.grab():
            if number % every == 0:
                decoded, image_bgr = capture.retrieve()
                if not decoded:
                    break
                yield number, cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise InputError("holds no frame that OpenCV can decode")


def frames_per_second(path: Path) -> float:
    """Of a video, 30 where it does not say."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return rate if 0 < rate < 1000 else 30.0
