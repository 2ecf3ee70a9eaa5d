"""Image and depth pairs listed in a CSV file, as the NYU Depth V2 files of this project are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from depth_training.data.intrinsics import Intrinsics

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
        intrinsics: Of the camera that took it; None where unknown.
        scene: Room or recording; pairs of one scene are neighbours. Empty where unknown.
    """

    image: Path
    depth: Path
    index: int
    intrinsics: Intrinsics | None = None
    scene: str = ""


def read_pairs(csv: Path) -> list[Pair]:
    """List the pairs of a CSV file with the columns ``image, depth``, and what else is known.

    Further columns: ``index`` or ``nyu_index`` (place in the recording; the row number stands in for it), ``scene``,
    and ``fx, fy, cx, cy`` in pixels at the image's size (``fy`` empty: as ``fx``; ``cx``, ``cy`` empty: the middle).
    Paths are relative to the folder of the CSV file.

    Raises:
        PairsError: The file does not exist, has no rows, lacks a column, or a number in it is none.
    """
    table = read_table(csv, ("image", "depth"))
    index_column = next((name for name in ("index", "nyu_index") if name in table.columns), None)
    indices = pd.Series(range(len(table))) if index_column is None else numbers(table, index_column, csv)
    if indices.isna().any():
        raise PairsError(f"pairs file {csv} leaves {index_column} empty in some rows: fill it in all rows or in none")
    scenes = table["scene"].astype(object).fillna("").astype(str) if "scene" in table.columns else [""] * len(table)
    return [
        Pair(csv.parent / image, csv.parent / depth, int(index), camera, scene)
        for image, depth, index, camera, scene in zip(
            table["image"], table["depth"], indices, read_intrinsics(table, csv), scenes, strict=True
        )
    ]


def read_table(csv: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file that must have ``columns``, each filled in every row.

    Raises:
        PairsError: The file does not exist, is no table, has no rows, or lacks a column or a value.
    """
    wanted = ", ".join(columns)
    if not csv.is_file():
        raise PairsError(f"pairs file {csv} does not exist: give a CSV file with the columns {wanted}")
    try:
        table = pd.read_csv(csv)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise PairsError(
            f"pairs file {csv} is not a CSV table ({error}): give one with the columns {wanted}"
        ) from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise PairsError(
            f"pairs file {csv} lacks the column {', '.join(missing)} (it has {', '.join(map(str, table.columns))}): "
            f"name the columns {wanted} in its first line"
        )
    if table.empty:
        raise PairsError(f"pairs file {csv} lists no pairs: it needs at least one row")
    for column in columns:
        if table[column].isna().any():
            row = int(np.argmax(table[column].isna().to_numpy()))
            raise PairsError(f"pairs file {csv} has no {column} in row {row + 1}: fill it in, or take the row out")
        table[column] = table[column].astype(str)
    return table


def numbers(table: pd.DataFrame, column: str, csv: Path) -> pd.Series:
    """One column as float64, NaN where it is empty.

    Raises:
        PairsError: A value that is no number.
    """
    values = pd.to_numeric(table[column], errors="coerce")
    wrong = values.isna() & table[column].notna()
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy()))
        raise PairsError(
            f"pairs file {csv} has {column} {table[column][row]!r} in row {row + 1}: it must be a number, or empty"
        )
    return values


def read_intrinsics(table: pd.DataFrame, csv: Path) -> list[Intrinsics | None]:
    """One camera per row from the columns ``fx, fy, cx, cy``, None where ``fx`` is empty or missing.

    Raises:
        PairsError: A value that is no number, or a focal length that is not positive.
    """
    if "fx" not in table.columns:
        return [None] * len(table)
    columns = [numbers(table, name, csv) if name in table.columns else None for name in ("fx", "fy", "cx", "cy")]
    values = np.column_stack([np.full(len(table), np.nan) if column is None else column for column in columns])
    values[:, 1] = np.where(np.isnan(values[:, 1]), values[:, 0], values[:, 1])
    wrong = ~np.isnan(values[:, 0]) & ~((values[:, :2] > 0) & np.isfinite(values[:, :2])).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PairsError(
            f"pairs file {csv} has fx {values[row, 0]:g}, fy {values[row, 1]:g} in row {row + 1}: focal lengths are "
            "pixels above zero; leave them empty where they are unknown"
        )
    return [
        None if np.isnan(fx) else Intrinsics(fx, fy, None if np.isnan(cx) else cx, None if np.isnan(cy) else cy)
        for fx, fy, cx, cy in values.tolist()
    ]


def read_image(path: Path) -> np.ndarray:
    """Read an 8-bit colour image as (H, W, 3) uint8 RGB.

    Raises:
        PairsError: The file is missing or is no image.
    """
    return cv2.cvtColor(read_bgr(path), cv2.COLOR_BGR2RGB)


def read_depth(path: Path) -> np.ndarray:
    """Read a 16-bit millimetre PNG as (H, W) float32 metres; 0 means unknown.

    Raises:
        PairsError: The file is missing, or is not a single 16-bit channel.
    """
    return metres(read_mm(path))


def depth_size(pair: Pair) -> tuple[int, int]:
    """(H, W) of a pair's depth map, from its header alone; raises as :func:`read_depth`."""
    try:
        with Image.open(pair.depth) as image:
            return image.height, image.width
    except OSError:
        height, width = read_mm(pair.depth).shape  # says what is wrong
        return height, width


def metres(depth_mm: np.ndarray) -> np.ndarray:
    """Millimetres of any type as float32 metres."""
    return depth_mm.astype(np.float32) / MILLIMETRES_PER_METRE


def read_bgr(path: Path) -> np.ndarray:
    """Read an 8-bit colour image as OpenCV has it, (H, W, 3) uint8 BGR; raises as :func:`read_image`."""
    # Depth has no orientation tag, so the image's must not turn it either.
    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image_bgr is None:
        raise PairsError(f"image {path} cannot be read: it must be an existing jpeg or png file")
    return image_bgr


def read_mm(path: Path) -> np.ndarray:
    """Read a 16-bit PNG as (H, W) uint16 millimetres; raises as :func:`read_depth`."""
    depth_mm = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth_mm is None:
        raise PairsError(f"depth map {path} cannot be read: it must be an existing 16-bit png file in millimetres")
    if depth_mm.dtype != np.uint16 or depth_mm.ndim != 2:
        raise PairsError(
            f"depth map {path} is {depth_mm.dtype} of shape {depth_mm.shape}: it must be one 16-bit channel in "
            "millimetres; an 8-bit picture of depth has lost its metres"
        )
    return depth_mm


def read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Read one pair as (H, W, 3) uint8 RGB and (H, W) float32 metres.

    Raises:
        PairsError: As :func:`read_image` and :func:`read_depth`, and where the two sizes differ.
    """
    image_bgr, depth_mm = read_stored_pair(pair)
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), metres(depth_mm)


def read_stored_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Read one pair as it is stored, (H, W, 3) uint8 BGR and (H, W) uint16 millimetres, to be converted once cropped.

    Raises:
        PairsError: As :func:`read_pair`.
    """
    image_bgr, depth_mm = read_bgr(pair.image), read_mm(pair.depth)
    if image_bgr.shape[:2] != depth_mm.shape:
        raise PairsError(
            f"{pair.image} is {image_bgr.shape[1]}x{image_bgr.shape[0]} but {pair.depth} is "
            f"{depth_mm.shape[1]}x{depth_mm.shape[0]}: register the depth to the image first"
        )
    return image_bgr, depth_mm
