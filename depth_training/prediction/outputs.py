"""What can be written of one image's depth: colours with a legend, millimetres, metres, a cloud."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.depth_colour import depth_to_rgb
from depth_estimation_ros.millimetres import depth_to_millimetres
from depth_estimation_ros.ply import save_ply
from depth_estimation_ros.point_cloud import depth_to_points
from depth_training.prediction.inputs import InputError

KINDS = ("colour", "png", "npy", "ply")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def parse_kinds(text: str) -> tuple[str, ...]:
    """Read ``--write``.

    Raises:
        InputError: An unknown kind, or none.
    """
    kinds = tuple(dict.fromkeys(kind.strip() for kind in text.split(",") if kind.strip()))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise InputError(f"--write {text}: choose among {','.join(KINDS)}, with commas between them")
    return kinds


@lru_cache(maxsize=4)
def legend(height: int, greatest_m: float) -> np.ndarray:
    """The scale beside a picture: (height, w, 3) uint8 RGB, 0 m at the bottom, with its metres written."""
    bar_width, size = max(8, height // 24), max(0.35, height / 960)
    text_height = cv2.getTextSize("0", cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][1]
    depth_m = greatest_m * (height - 1 - np.arange(height, dtype=np.float32)) / max(height - 1, 1)
    bar = depth_to_rgb(np.repeat(depth_m[:, np.newaxis], bar_width, axis=1), 0.0, greatest_m)
    texts = {mark: f"{mark:g} m" for mark in _marks(greatest_m, max(2, height // (3 * text_height)))}
    text_width = max(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] for text in texts.values())
    picture = np.full((height, bar_width + text_width + 10, 3), WHITE, np.uint8)
    picture[:, :bar_width] = bar
    for mark, text in texts.items():
        row = round((height - 1) * (1 - mark / greatest_m))
        cv2.line(picture, (bar_width, row), (bar_width + 3, row), BLACK, 1)
        baseline = min(max(row + text_height // 2, text_height + 1), height - 2)
        place = (bar_width + 6, baseline)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, BLACK, 1, cv2.LINE_AA)
    picture.flags.writeable = False  # one for all pictures of this size
    return picture


def _marks(greatest_m: float, most: int) -> list[float]:
    """Round depths from 0 on, not more than ``most``."""
    decade = 10.0 ** math.floor(math.log10(greatest_m / most))
    step = next(decade * factor for factor in (1, 2, 5, 10, 20) if greatest_m / (decade * factor) <= most - 1)
    return [round(step * place, 6) for place in range(math.floor(greatest_m / step + 1e-9) + 1)]


def colour_picture(depth_m: np.ndarray, greatest_m: float, image_rgb: np.ndarray | None = None) -> np.ndarray:
    """Coloured depth (H, W) with its legend, beside the image where there is one: (H, w, 3) uint8 RGB."""
    parts = [depth_to_rgb(depth_m, 0.0, greatest_m), legend(len(depth_m), greatest_m)]
    return np.hstack(parts if image_rgb is None else [image_rgb, *parts])


def write_outputs(
    kinds: tuple[str, ...],
    target: Path,
    image_rgb: np.ndarray,
    depth_m: np.ndarray,
    k: np.ndarray | None,
    greatest_m: float,
    stride: int = 1,
) -> list[Path]:
    """Write one image's depth.

    Args:
        kinds: Of :data:`KINDS`. A cloud is left out where ``k`` is None.
        target: Folder and name without an ending: ``NAME_colour.png``, ``NAME_depth.png`` (16 bits, millimetres),
            ``NAME_depth.npy`` (float32 metres), ``NAME_points.ply`` (metres, the camera's optical frame).
        image_rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 metres.
        k: (3, 3) intrinsics of the image, pixels.
        greatest_m: End of the colours' scale.
        stride: Pixels between points of the cloud.

    Returns:
        The files written.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    written = []
    if "colour" in kinds:
        picture_bgr = cv2.cvtColor(colour_picture(depth_m, greatest_m), cv2.COLOR_RGB2BGR)
        written.append(_write_png(target.with_name(f"{target.name}_colour.png"), picture_bgr))
    if "png" in kinds:
        written.append(_write_png(target.with_name(f"{target.name}_depth.png"), depth_to_millimetres(depth_m)))
    if "npy" in kinds:
        written.append(target.with_name(f"{target.name}_depth.npy"))
        np.save(written[-1], depth_m.astype(np.float32, copy=False))
    if "ply" in kinds and k is not None:
        written.append(target.with_name(f"{target.name}_points.ply"))
        points = depth_to_points(depth_m, k, stride)
        save_ply(written[-1], points, image_rgb[stride // 2 :: stride, stride // 2 :: stride])
    return written


def _write_png(path: Path, picture: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())  # cv2.imwrite would not say why it failed
    return path
