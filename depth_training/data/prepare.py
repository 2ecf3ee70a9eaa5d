"""Any source of pairs to one layout: a folder with images, 16-bit millimetre depth and ``pairs.csv``."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from depth_estimation_ros.millimetres import depth_to_millimetres
from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import PairsError
from depth_training.data.sources.sample import Frame, Sample
from depth_training.files import is_full_disk

SURE_M, ASSUMED_M = (0.3, 30.0), (0.7, 6.0)
"""Bounds of the median depth: where the source or the user says the unit, and where it is assumed."""

TYPICAL_M = 3.0
# A single frame may look at a wall up close, so the unit is judged by the median of several.
FRAMES_TO_JUDGE_BY = 5
# Nothing readable among so many: the rest will be no better.
UNREADABLE_TO_GIVE_UP_AT = 20
JPEG_QUALITY = 95
UNIT_MISTAKES = {
    "millimetres read as metres": 1e-3,
    "metres read as millimetres": 1e3,
    "centimetres read as metres": 1e-2,
    "metres read as centimetres": 1e2,
    "centimetres read as millimetres": 10.0,
    "millimetres read as centimetres": 0.1,
    "5000 steps a metre (tum) read as millimetres": 0.2,
}


@dataclass
class Preparation:
    """What became of a source.

    Attributes:
        pairs: The CSV file.
        written: How many pairs it lists.
        unreadable: (name, reason) of every pair left out.
        median_depth_m: Median of the frames' medians.
        without_intrinsics: How many pairs have no focal length.
    """

    pairs: Path
    written: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    median_depth_m: float = math.nan
    without_intrinsics: int = 0


def prepare(
    samples: Iterable[Sample],
    output: Path,
    fallback: Intrinsics | None = None,
    lossless: bool = False,
    medians_within_m: tuple[float, float] = SURE_M,
    unit_remedy: str = "Correct the source",
) -> Preparation:
    """Check every pair and write those that can be used.

    All is written to a folder beside ``output`` that becomes ``output`` when it is complete: whatever ends this early,
    a full disk or Ctrl-C included, leaves nothing behind that looks like a data set.

    Args:
        samples: Of any reader.
        output: Folder to make; it must not exist, or be empty.
        fallback: Intrinsics of samples that have none of their own.
        lossless: Write images that have no file of their own as png rather than jpeg.
        medians_within_m: Bounds of the median depth: ``SURE_M`` or ``ASSUMED_M``.
        unit_remedy: What to do where it lies outside, for the message.

    Raises:
        PairsError: ``output`` holds files, no pair can be used, the depth is in the wrong unit, or the disk is full.
    """
    output = output.resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PairsError(f"{output} already holds files: give another --output, or remove it")
    if output.is_mount() or output == Path.cwd():
        raise PairsError(f"{output} cannot be replaced by the finished folder: give --output a new folder in it")
    output.parent.mkdir(parents=True, exist_ok=True)
    with _complete_or_gone(output) as folder:
        result = _write_all(samples, folder, fallback, lossless, medians_within_m, unit_remedy)
    result.pairs = output / "pairs.csv"
    return result


def thin(samples: Iterable[Sample], every: int) -> Iterator[Sample]:
    """Take one sample of every so many.

    Where no scene is known, neighbours are told by their index, so it is divided: what was next to each other stays so.
    """
    for sample in itertools.islice(samples, 0, None, every):
        yield sample if sample.scene else dataclasses.replace(sample, index=sample.index // every)


@contextlib.contextmanager
def _complete_or_gone(output: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    folder.chmod(0o755)  # mkdtemp's own mode would hide the data set from everyone else
    try:
        yield folder
        os.replace(folder, output)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and is_full_disk(error):
            raise PairsError(
                f"the disk of {output.parent} is full: free some space or give another --output; what was written so "
                "far has been removed"
            ) from error
        raise


def _write_all(
    samples: Iterable[Sample],
    folder: Path,
    fallback: Intrinsics | None,
    lossless: bool,
    medians_within_m: tuple[float, float],
    unit_remedy: str,
) -> Preparation:
    result = Preparation(folder / "pairs.csv")
    rows: list[dict[str, object]] = []
    medians_m: list[float] = []
    left_out: list[int] = []  # indices of those without a scene
    for name in ("images", "depth"):
        folder.joinpath(name).mkdir()
    for sample in samples:
        try:
            frame = sample.read()
            medians_m.append(check_frame(frame, sample.name))
        except PairsError as error:
            result.unreadable.append((sample.name, str(error)))
            if not sample.scene:
                left_out.append(sample.index)
            if not rows and len(result.unreadable) >= UNREADABLE_TO_GIVE_UP_AT:
                break
            continue
        rows.append(_write(frame, sample, folder, len(rows), fallback, lossless))
        if len(medians_m) == FRAMES_TO_JUDGE_BY:
            _check_unit(medians_m, medians_within_m, unit_remedy)
    if not rows:
        raise PairsError(_why_nothing(result.unreadable))
    _check_unit(medians_m, medians_within_m, unit_remedy)
    table = pd.DataFrame(rows)
    # Without a scene a gap would make two rooms of one, see `thin`.
    table["index"] -= np.where(table["scene"] == "", np.searchsorted(np.sort(left_out), table["index"]), 0)
    table.to_csv(folder / "pairs.csv", index=False)
    if result.unreadable:
        pd.DataFrame(result.unreadable, columns=["pair", "reason"]).to_csv(folder / "unreadable.csv", index=False)
    result.written, result.median_depth_m = len(rows), float(np.median(medians_m))
    result.without_intrinsics = int(table["fx"].isna().sum())
    return result


def _why_nothing(unreadable: list[tuple[str, str]]) -> str:
    if not unreadable:
        return "there is not a single pair in this split: choose another --split, or a smaller --every"
    return f"none of the first {len(unreadable)} pairs can be used; the first: {unreadable[0][1]}"


def check_frame(frame: Frame, name: str) -> float:
    """Check one pair and return its median known depth in metres.

    Raises:
        PairsError: The sizes differ, or not a single pixel's depth is known.
    """
    (height, width), depth_size = frame.image_rgb.shape[:2], frame.depth_m.shape
    if (height, width) != depth_size:
        raise PairsError(
            f"{name}: the image is {width}x{height} but its depth {depth_size[1]}x{depth_size[0]}: register the depth "
            "to the image first"
        )
    known = frame.depth_m[frame.depth_m > 0]
    if not known.size:
        raise PairsError(f"{name}: the depth is unknown (0) everywhere")
    return float(np.median(known))


def doubtful_unit(medians_m: Sequence[float], within_m: tuple[float, float], read_as: str = "") -> str:
    """Name the likely mistake behind depth that no indoor or street scene has.

    Args:
        medians_m: Of images, metres.
        within_m: Bounds of their median.
        read_as: The unit that the depth was read in, as `millimetres`; empty where it may be any.

    Returns:
        A question; empty where the median lies within the bounds, or where there is none.
    """
    median_m, (least_m, greatest_m) = float(np.median(medians_m)) if medians_m else math.nan, within_m
    if not medians_m or least_m <= median_m <= greatest_m:
        return ""
    possible = {name: factor for name, factor in UNIT_MISTAKES.items() if name.endswith(read_as)}
    likely = min(possible, key=lambda name: abs(math.log(median_m * possible[name] / TYPICAL_M)))
    return (
        f"median depth {median_m:g} m over {len(medians_m)} images, outside {least_m:g} to {greatest_m:g} m: {likely}?"
    )


def _check_unit(medians_m: Sequence[float], within_m: tuple[float, float], remedy: str) -> None:
    if doubt := doubtful_unit(medians_m, within_m):
        raise PairsError(f"{doubt} {remedy}")


def _write(
    frame: Frame, sample: Sample, folder: Path, number: int, fallback: Intrinsics | None, lossless: bool
) -> dict[str, object]:
    suffix, data = frame.encoded or _encode_image(frame.image_rgb, lossless)
    image, depth = f"images/{number:06}{suffix}", f"depth/{number:06}.png"
    folder.joinpath(image).write_bytes(data)
    folder.joinpath(depth).write_bytes(cv2.imencode(".png", depth_to_millimetres(frame.depth_m))[1].tobytes())
    row: dict[str, object] = {"image": image, "depth": depth}
    camera = frame.intrinsics or fallback
    k = np.full((3, 3), np.nan) if camera is None else camera.matrix(frame.depth_m.shape)
    row |= {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2], "cy": k[1, 2]}
    return {**row, "index": sample.index, "scene": sample.scene, "source": sample.name}


def _encode_image(image_rgb: np.ndarray, lossless: bool) -> tuple[str, bytes]:
    suffix, options = (".png", []) if lossless else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return suffix, cv2.imencode(suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), options)[1].tobytes()
