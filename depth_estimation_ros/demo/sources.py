"""Where the demo's images come from: the built-in room, a folder of images, one image, a video file or a webcam."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.demo.frames import NYU_K, NYU_SIZE, GivenIntrinsics, SourceFrame
from depth_estimation_ros.demo.room import Room, camera_path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MM_PER_M = 1000.0

Frames = Generator[SourceFrame, None, None]


class SourceError(ValueError):
    """A source that gives no images; one sentence with the value, the rule and what to do."""


@dataclass(frozen=True)
class Source:
    """Images ready to be read: `frame_count` of them (at most, where a video lies about its length).

    `read()` yields `SourceFrame`; it raises `SourceError` where a file turns out to be unreadable.
    `webcam` is the device's number where the images are taken while the demo runs, otherwise None.
    """

    description: str
    frame_count: int
    read: Callable[[], Frames]
    webcam: int | None = None


def evenly_spaced(count: int, limit: int) -> list[int]:
    """Return at most `limit` increasing indices out of `count`, spread from the first to the last."""
    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(count, limit)).round())]


def open_source(text: str, limit: int, given: GivenIntrinsics) -> Source:
    """Return the source that `room`, a folder, a file or a webcam's number stands for.

    Args:
        text: `room`, a path, or a whole number (write `./room` or `./0` for files and folders so named).
        limit: The most frames to take, at least 1; more images than that are thinned evenly.
        given: What is said of the camera on the command line. The room knows its own.

    Raises:
        SourceError: There is nothing to read; the sentence says what to do.
    """
    # Its own complaints would stand beside our one sentence.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if text == "room":
        if given != GivenIntrinsics():
            raise SourceError("The built-in room knows its camera: leave out --hfov-deg, --fx and --fy.")
        description = "built-in room, ray-cast, depth known exactly"
        return Source(description, limit, partial(_room_frames, limit))
    if text.isdecimal():
        _open_capture(int(text), f"Webcam {text}", "look for its number under /dev/video*").release()
        return Source(f"webcam {text}", limit, partial(webcam_frames, int(text), given), webcam=int(text))
    path = Path(text)
    if path.is_dir():
        return _folder(path, limit, given)
    if not path.exists():
        raise SourceError(
            f"Source {text!r} is neither a file nor a folder: give 'room', a folder of images, a video file "
            "or a webcam's number."
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Source(f"image {path.name}", 1, partial(_image_frames, [path], given))
    return _video(path, limit, given)


def _room_frames(count: int) -> Frames:
    room = Room()

    def picture(index: int) -> SourceFrame:
        fraction = index / (count - 1) if count > 1 else 0.5
        image_rgb, depth_m = room.render(camera_path(fraction), seed=index)
        return SourceFrame(f"room {index + 1}", image_rgb, NYU_K, depth_m)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(picture, range(count))


def _folder(path: Path, limit: int, given: GivenIntrinsics) -> Source:
    images = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.lower().endswith("_depth.png")
    )
    if not images:
        raise SourceError(f"Folder {str(path)!r} holds no .jpg or .png image: name a folder that does, or use 'room'.")
    chosen = [images[index] for index in evenly_spaced(len(images), limit)]
    description = f"folder {path.name or path}, {len(chosen)} of {len(images)} images"
    return Source(description, len(chosen), partial(_image_frames, chosen, given))


def truth_path(image: Path) -> Path | None:
    """Return the depth image that belongs to `X_rgb.jpg` or `X_rgb.png`, `X_depth.png`, where it exists."""
    sibling = image.with_name(image.stem.removesuffix("_rgb") + "_depth.png")
    return sibling if image.stem.endswith("_rgb") and sibling.is_file() else None


def _image_frames(paths: list[Path], given: GivenIntrinsics) -> Frames:
    for path in paths:
        image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image_bgr is None:
            raise SourceError(f"Image {str(path)!r} cannot be decoded: remove it from the folder or replace it.")
        size, truth_m = image_bgr.shape[:2], None
        k = given.matrix(*size)
        depth_file = truth_path(path)
        if depth_file is not None:
            truth_m = _read_truth(depth_file, size)
            if k is None and size == NYU_SIZE:
                k = NYU_K
        yield SourceFrame(path.stem, cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), k, truth_m)


def _read_truth(path: Path, size: tuple[int, int]) -> np.ndarray:
    depth_mm = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth_mm is None or depth_mm.dtype != np.uint16 or depth_mm.shape != size:
        found = "unreadable" if depth_mm is None else f"{depth_mm.dtype} of shape {depth_mm.shape}"
        raise SourceError(
            f"Depth image {str(path)!r} is {found}; the truth has to be 16-bit millimetres of shape {size}: "
            "convert it, or rename it so that it is not taken for the truth."
        )
    depth_m = depth_mm.astype(np.float32) / np.float32(MM_PER_M)
    return np.where(depth_mm == 0, np.float32(np.nan), depth_m)


def _open_capture(target: int | str, name: str, remedy: str) -> cv2.VideoCapture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        raise SourceError(f"{name} cannot be opened: {remedy}, or use 'room'.")
    return capture


def _video(path: Path, limit: int, given: GivenIntrinsics) -> Source:
    capture = _open_capture(
        str(path), f"Video {str(path)!r}", "check that it is a video OpenCV can decode (mp4, avi, mkv)"
    )
    stated_count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    readable, _ = capture.read()
    capture.release()
    if not readable:
        raise SourceError(
            f"Video {str(path)!r} holds no frame that can be decoded: convert it to mp4 or mkv, or use 'room'."
        )
    wanted = evenly_spaced(stated_count, limit) if stated_count > 0 else list(range(limit))
    return Source(f"video {path.name}", len(wanted), partial(_video_frames, path, wanted, given))


def _video_frames(path: Path, wanted: list[int], given: GivenIntrinsics) -> Frames:
    capture = cv2.VideoCapture(str(path))
    try:
        chosen = frozenset(wanted)
        for index in range(wanted[-1] + 1):
            if not capture.grab():
                return
            if index in chosen:
                readable, image_bgr = capture.retrieve()
                if not readable:
                    return
                yield _captured(image_bgr, f"{path.stem} frame {index}", given)
    finally:
        capture.release()


def webcam_frames(device: int, given: GivenIntrinsics) -> Frames:
    """Yield what a webcam sees now, one frame per request, without end; raise `SourceError` when it goes away."""
    capture = _open_capture(device, f"Webcam {device}", "look for its number under /dev/video*")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    try:
        while True:
            readable, image_bgr = capture.read()
            if not readable:
                raise SourceError(
                    f"Webcam {device} sends no more images: plug it in again and start anew, or use 'room'."
                )
            yield _captured(image_bgr, f"webcam {device}", given)
    finally:
        capture.release()


def _captured(image_bgr: np.ndarray, name: str, given: GivenIntrinsics) -> SourceFrame:
    return SourceFrame(name, cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), given.matrix(*image_bgr.shape[:2]))
