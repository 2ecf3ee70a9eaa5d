"""Predicted depth in files, whoever made them: read as metres, and matched to pairs by their names."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from depth_training.data.pairs import Pair, PairsError
from depth_training.data.sources.decoding import UNITS_M, decode_depth_file, to_metres

#: Files that can hold depth, the most exact first: where a folder has several of one image, the first is taken.
SUFFIXES = (".npy", ".npz", ".tiff", ".tif", ".png")
IMAGE_SUFFIXES = (".png", ".tiff", ".tif")
#: What a name may end in without meaning another image: 0001_rgb.jpg and 0001_depth.png are one.
ROLES = ("rgb", "image", "color", "colour", "depth", "pred", "prediction")
COLOURED = ("colour", "color", "cmap")
MOST_PARTS = 4
SHOWN_NAMES = 5


class PredictionsError(ValueError):
    """Predictions that cannot be judged; the message says which, why and what to do."""


def read_prediction(path: Path, unit: str) -> np.ndarray:
    """Read one file as (h, w) float32 metres; 0 where it is unknown (not finite, or not above zero).

    Args:
        path: ``.npy`` or ``.npz`` (its array ``depth``, or its only one) in metres; ``.png`` or ``.tiff`` in ``unit``.
        unit: A key of ``UNITS_M``.

    Raises:
        PredictionsError: The file is damaged, holds no single plane, or 8 bits where 16 were promised.
    """
    try:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return decode_depth_file(path.read_bytes(), unit, str(path))
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            stored = _only_array(loaded, path) if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
        if not np.issubdtype(stored.dtype, np.number):
            raise PredictionsError(f"{path} holds {stored.dtype}: it must be depth in metres as numbers")
        stored = np.asarray(stored, np.float32)
        return to_metres(np.squeeze(stored) if stored.ndim > 2 else stored, "m", str(path))
    except PairsError as error:
        raise PredictionsError(str(error)) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, PredictionsError):
            raise
        raise PredictionsError(
            f"{path} cannot be read as an array ({error}): write it again with numpy.save"
        ) from error


def _only_array(archive: np.lib.npyio.NpzFile, path: Path) -> np.ndarray:
    names = archive.files
    if "depth" not in names and len(names) != 1:
        raise PredictionsError(
            f"{path} holds the arrays {', '.join(names) or 'none'}: name the one in metres 'depth', or leave it alone"
        )
    return archive["depth" if "depth" in names else names[0]]


def match_predictions(folder: Path, pairs: Sequence[Pair]) -> list[Path | None]:
    """Find the file of each pair in a folder, by the image's name without its ending: None where there is none.

    ``0001_rgb.jpg`` is matched by ``0001_rgb.npy``, ``0001.png`` or ``0001_depth.png``; ``*_colour.png`` is a picture
    and passed over where no image is called so. Where images in several folders have one name, their folders' names
    count too.

    Raises:
        PredictionsError: No such folder, not one file that belongs to a pair, or two that could be the same pair's.
    """
    if not folder.is_dir():
        raise PredictionsError(f"{folder} is no folder: give one with predictions as .npy (metres) or 16-bit .png")
    stems = {pair.image.stem for pair in pairs}
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and (path.stem in stems or not _is_picture(path))
    )
    if not files:
        raise PredictionsError(
            f"{folder} holds no prediction ({', '.join(SUFFIXES)}): write .npy in metres or 16-bit .png"
        )
    parts = _parts_that_tell_apart(pairs)
    exact: dict[tuple[str, ...], list[Path]] = {}
    loose: dict[tuple[str, ...], list[Path]] = {}
    for path in files:
        exact.setdefault(_key(path, parts, path.stem), []).append(path)
        loose.setdefault(_key(path, parts, _bare(path.stem)), []).append(path)
    matched = []
    for pair in pairs:
        candidates = exact.get(_key(pair.image, parts, pair.image.stem)) or loose.get(
            _key(pair.image, parts, _bare(pair.image.stem)), []
        )
        matched.append(_best(candidates, pair))
    if not any(matched):
        raise PredictionsError(
            f"not one file in {folder} belongs to a pair: they are named like {files[0].name}, and the first image is "
            f"{pairs[0].image.name}; name predictions as the images"
        )
    return matched


def _best(candidates: Sequence[Path], pair: Pair) -> Path | None:
    ranked = sorted(candidates, key=lambda path: SUFFIXES.index(path.suffix.lower()))
    if len(ranked) > 1 and ranked[0].suffix.lower() == ranked[1].suffix.lower():
        raise PredictionsError(
            f"both {ranked[0]} and {ranked[1]} could be the prediction for {pair.image.name}: leave one of them in"
        )
    return ranked[0] if ranked else None


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.stem.rpartition("_")[2].lower() in COLOURED


def _bare(stem: str) -> str:
    rest, _, role = stem.rpartition("_")
    return _bare(rest) if rest and role.lower() in ROLES else stem


def _key(path: Path, parts: int, name: str) -> tuple[str, ...]:
    return (*path.parts[-parts:-1], name)


def _parts_that_tell_apart(pairs: Sequence[Pair]) -> int:
    for parts in range(1, MOST_PARTS + 1):
        keys = {_key(pair.image, parts, pair.image.stem) for pair in pairs}
        if len(keys) == len({pair.image for pair in pairs}):
            return parts
    raise PredictionsError(
        f"several of the images, such as {pairs[0].image}, have the same name and folders: give them names of their own"
    )


def resize_known(depth_m: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample depth to (H, W), by what is known alone: 0 is unknown, and stays so where it is most of a place.

    Args:
        depth_m: (h, w) float32 metres.
        size: (H, W) pixels.
    """
    is_known = (depth_m > 0).astype(np.float32)
    resized_m, share = (cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in (depth_m, is_known))
    return np.where(share >= 0.5, resized_m / np.maximum(share, 0.5), np.float32(0))


def name_some(names: Sequence[str]) -> str:
    """List the first few names and say how many more there are."""
    shown = ", ".join(names[:SHOWN_NAMES])
    return f"{shown} and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else shown


def check_predicted_unit(median_ratio: float, log_correlation: float, suffix: str, unit: str) -> None:
    """Refuse predictions whose scale no metric prediction has, and name the likely cause.

    Args:
        median_ratio: Median over images of the median of prediction / truth.
        log_correlation: Median over images of the correlation of ln(prediction) and ln(truth).
        suffix: Of the files; arrays are in metres.
        unit: That images were read in.

    Raises:
        PredictionsError: The ratio is below a third or above three, or the correlation is that of inverse depth.
    """
    if 1 / 3 <= median_ratio <= 3 and log_correlation > -0.5:
        return
    said = unit if suffix in IMAGE_SUFFIXES else "m"
    found = f"predictions read in {said} are {median_ratio:.3g} times the true depth (median)"
    if log_correlation < -0.5:
        raise PredictionsError(
            f"{found} and fall where it rises (correlation {log_correlation:.2f}): they look like inverse depth or "
            "disparity; write depth in metres"
        )
    off = {other: abs(np.log(median_ratio * step / UNITS_M[said])) for other, step in UNITS_M.items() if other != said}
    likely = min(off, key=lambda other: off[other])
    if off[likely] > np.log(2):
        raise PredictionsError(f"{found}, which no unit explains: is it relative depth? Write depth in metres")
    remedy = f"give --unit {likely}" if suffix in IMAGE_SUFFIXES else "write the arrays in metres"
    step = f"{1 / UNITS_M[likely]:.4g} steps a metre" if likely not in ("mm", "cm", "m") else likely
    raise PredictionsError(f"{found}: they are stored in {step}, it seems; {remedy}")
