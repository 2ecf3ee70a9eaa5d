"""Folders with list files of lines ``image depth focal``, as BTS and its successors have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import PairsError
from depth_training.data.sources.decoding import decode_depth_file, decode_image_file, encoded_image
from depth_training.data.sources.sample import Frame, Sample, Source, nyu_scene


def open_bts(path: Path, root: Path | None = None, unit: str = "mm") -> Source:
    """List the pairs of a list file; a depth of ``None``, as KITTI's lists have it, is passed over as unreadable.

    Args:
        path: The list file.
        root: Folder that its paths start from, leading slashes apart; by default the list's own.
        unit: Of the 16-bit depth: ``mm`` for NYU, ``kitti`` (1/256 m) for KITTI.

    Raises:
        PairsError: No such file, or a line that is not ``image depth`` with or without a focal length.
    """
    if not path.is_file():
        raise PairsError(f"{path} does not exist: give a list file of lines `image depth focal`")
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except UnicodeDecodeError as error:
        raise PairsError(f"{path} is no text file: give a list file of lines `image depth focal`") from error
    pairs = [
        (row[0], row[1], _focal(row[2:], path, number)) if len(row) in (2, 3) else _refuse(path, number, row)
        for number, row in enumerate(rows, 1)
        if row
    ]
    return Source(len(pairs), _samples(pairs, root or path.parent, unit))


def _samples(pairs: list[tuple[str, str, Intrinsics | None]], root: Path, unit: str) -> Iterator[Sample]:
    for index, (image, depth, intrinsics) in enumerate(pairs):
        image_path, depth_path = (root / name.lstrip("/") for name in (image, depth))

        def read(
            image_path: Path = image_path, depth_path: Path = depth_path, intrinsics: Intrinsics | None = intrinsics
        ) -> Frame:
            image_data, depth_data = read_bytes(image_path), read_bytes(depth_path)
            image_rgb = decode_image_file(image_data, str(image_path))
            depth_m = decode_depth_file(depth_data, unit, str(depth_path))
            return Frame(image_rgb, depth_m, intrinsics, encoded_image(image_data, image_path.name))

        folder = str(Path(image.lstrip("/")).parent)
        yield Sample(image, index, "" if folder == "." else nyu_scene(folder), read)


def read_bytes(path: Path) -> bytes:
    """Read one file of a pair.

    Raises:
        PairsError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise PairsError(f"{path} cannot be read ({error.strerror})") from error


def _focal(rest: list[str], path: Path, number: int) -> Intrinsics | None:
    if not rest:
        return None
    try:
        focal_px = float(rest[0])
    except ValueError:
        _refuse(path, number, rest)
    if not 0 < focal_px < float("inf"):
        _refuse(path, number, rest)
    return Intrinsics(focal_px, focal_px)


def _refuse(path: Path, number: int, row: list[str]):
    raise PairsError(
        f"{path} has {' '.join(row)!r} in line {number}: each line must be `image depth`, or `image depth focal` with "
        "the focal length in pixels"
    )
