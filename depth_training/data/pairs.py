"""Image and depth pairs listed in a CSV file, as the NYU Depth V2 files of this project are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

MILLIMETRES_PER_METRE = 1000.0


class PairsError(ValueError):
    """A CSV file, image or depth map that cannot be used; the message names it, the rule and the remedy."""


@dataclass(frozen=True)
class Pair:
    """One colour image and its depth map.

    Attributes:
        image: Path of an 8-bit colour image.
        depth: Path of a 16-bit single-channel PNG in millimetres; 0 means unknown.
        index: Place in the original recording; neighbours are often the same room.
    """

    image: Path
    depth: Path
    index: int


def read_pairs(csv: Path) -> list[Pair]:
    """List the pairs of a CSV file with the columns ``image, depth`` and, if known, ``nyu_index``.

    Paths are relative to the folder of the CSV file. Without ``nyu_index`` the row number stands in for it.

    Raises:
        PairsError: The file does not exist, has no rows or lacks a column.
    """
    if not csv.is_file():
        raise PairsError(f"pairs file {csv} does not exist: give a CSV file with the columns image, depth, nyu_index")
    try:
        table = pd.read_csv(csv)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise PairsError(
            f"pairs file {csv} is not a CSV table ({error}): give one with the columns image, depth"
        ) from error
    missing = [column for column in ("image", "depth") if column not in table.columns]
    if missing:
        raise PairsError(
            f"pairs file {csv} lacks the column {', '.join(missing)} (it has {', '.join(map(str, table.columns))}): "
            "name the columns image, depth and, if known, nyu_index"
        )
    if table.empty:
        raise PairsError(f"pairs file {csv} lists no pairs: it needs at least one row")
    indices = table["nyu_index"] if "nyu_index" in table.columns else pd.RangeIndex(len(table))
    return [
        Pair(csv.parent / image, csv.parent / depth, int(index))
        for image, depth, index in zip(table["image"], table["depth"], indices, strict=True)
    ]


def read_image(path: Path) -> np.ndarray:
    """Read an 8-bit colour image as (H, W, 3) uint8 RGB.

    Raises:
        PairsError: The file is missing or is no image.
    """
    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image_bgr is None:
        raise PairsError(f"image {path} cannot be read: it must be an existing jpeg or png file")
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)


def read_depth(path: Path) -> np.ndarray:
    """Read a 16-bit millimetre PNG as (H, W) float32 metres; 0 means unknown.

    Raises:
        PairsError: The file is missing, or is not a single 16-bit channel.
    """
    depth_mm = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth_mm is None:
        raise PairsError(f"depth map {path} cannot be read: it must be an existing 16-bit png file in millimetres")
    if depth_mm.dtype != np.uint16 or depth_mm.ndim != 2:
        raise PairsError(
            f"depth map {path} is {depth_mm.dtype} of shape {depth_mm.shape}: it must be one 16-bit channel in "
            "millimetres; an 8-bit picture of depth has lost its metres"
        )
    return depth_mm.astype(np.float32) / MILLIMETRES_PER_METRE


def read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Read one pair as (H, W, 3) uint8 RGB and (H, W) float32 metres.

    Raises:
        PairsError: As :func:`read_image` and :func:`read_depth`, and where the two sizes differ.
    """
    image_rgb, depth_m = read_image(pair.image), read_depth(pair.depth)
    if image_rgb.shape[:2] != depth_m.shape:
        raise PairsError(
            f"{pair.image} is {image_rgb.shape[1]}x{image_rgb.shape[0]} but {pair.depth} is "
            f"{depth_m.shape[1]}x{depth_m.shape[0]}: register the depth to the image first"
        )
    return image_rgb, depth_m
