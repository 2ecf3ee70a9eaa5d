"""DenseDepth's ``nyu_data.zip``, read as it is or unpacked."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from depth_training.data.pairs import PairsError
from depth_training.data.sources.decoding import decode_depth_file, decode_image_file, encoded_image
from depth_training.data.sources.nyu_mat import NYU_INTRINSICS
from depth_training.data.sources.sample import Frame, Sample, Source, nyu_scene

LISTS = {"train": "data/nyu2_train.csv", "test": "data/nyu2_test.csv"}
# The training depth was stored in 8 bits over 10 m, the test depth in 16 bits.
UNITS = {"train": "8bit", "test": "mm"}


def open_densedepth(path: Path, split: str = "train") -> Source:
    """List the pairs of one of its two lists (headerless lines ``image,depth``, paths from the archive's root).

    Args:
        path: nyu_data.zip, the folder it was unpacked into, or the ``data`` folder in that.
        split: ``train`` (8-bit depth, steps of 39 mm up to 10 m) or ``test`` (16-bit millimetres).

    Raises:
        PairsError: No such file, not a zip file, no list in it, or an unknown split.
    """
    if split not in LISTS:
        raise PairsError(f"unknown split {split!r}: choose train or test")
    if path.is_dir() and not (path / LISTS[split]).exists() and (path.parent / LISTS[split]).exists():
        path = path.parent
    read_bytes = _opener(path)
    try:
        lines = read_bytes(LISTS[split])
    except (KeyError, FileNotFoundError) as error:
        raise PairsError(
            f"{path} has no {LISTS[split]}: give DenseDepth's nyu_data.zip, or the folder it was unpacked into"
        ) from error
    try:
        table = pd.read_csv(io.BytesIO(lines), header=None, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise PairsError(f"{LISTS[split]} of {path} is no list of pairs ({error}): unpack or download again") from error
    if table.shape[1] < 2:
        raise PairsError(f"{LISTS[split]} of {path} has {table.shape[1]} column: each line must be image,depth")
    return Source(len(table), _samples(path, read_bytes, table, split))


def _samples(path: Path, read_bytes: Callable[[str], bytes], table: pd.DataFrame, split: str) -> Iterator[Sample]:
    for index, (image, depth) in enumerate(zip(table[0], table[1], strict=True)):

        def read(image: str = image, depth: str = depth) -> Frame:
            try:
                image_data, depth_data = read_bytes(image), read_bytes(depth)
            except (KeyError, FileNotFoundError, TypeError, zipfile.BadZipFile, zlib.error) as error:
                raise PairsError(f"{image}, {depth} cannot be read from {path} ({error})") from error
            depth_m = decode_depth_file(depth_data, UNITS[split], depth)
            image_rgb = decode_image_file(image_data, image)
            return Frame(image_rgb, depth_m, NYU_INTRINSICS, encoded_image(image_data, image))

        scene = nyu_scene(PurePosixPath(str(image)).parent.name) if split == "train" else ""
        yield Sample(str(image), index, scene, read)


def _opener(path: Path) -> Callable[[str], bytes]:
    if path.is_dir():
        return lambda name: path.joinpath(name).read_bytes()
    if not zipfile.is_zipfile(path):
        fault = "is no zip file, or is cut off" if path.exists() else "does not exist"
        raise PairsError(f"{path} {fault}: give DenseDepth's nyu_data.zip, or the folder it was unpacked into")
    return zipfile.ZipFile(path).read
