"""Decoded pairs on disk: reading a crop of them costs a tenth of decoding jpeg and png again every epoch."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from depth_training.data.pairs import Pair, PairsError, read_stored_pair
from depth_training.files import is_full_disk


def cache_files(pair: Pair, cache: Path) -> tuple[Path, Path]:
    """Where a pair's decoded image and depth lie; another name once either file has changed.

    Raises:
        OSError: A file of the pair does not exist.
    """
    states = [(os.path.abspath(path), stat.st_size, stat.st_mtime_ns) for path, stat in _stats(pair)]
    name = hashlib.sha256(repr(states).encode()).hexdigest()[:24]
    return cache / f"{name}.image.npy", cache / f"{name}.depth.npy"


def _stats(pair: Pair) -> list[tuple[Path, os.stat_result]]:
    return [(path, path.stat()) for path in (pair.image, pair.depth)]


def read_ahead(pairs: Iterable[Pair], cache: str) -> None:
    """Ask the system to fetch the files of a batch now, so that the disk works while its first pairs are decoded.

    Args:
        pairs: Whose files; those that cannot be opened are left for the reader to complain of.
        cache: As for :func:`read_cached_pair`.
    """
    if not hasattr(os, "posix_fadvise"):  # macOS
        return
    for pair in pairs:
        with contextlib.suppress(OSError):
            for path in cache_files(pair, Path(cache)) if cache else (pair.image, pair.depth):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(descriptor)


def read_cached_pair(pair: Pair, cache: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one pair as it is stored, decoded at most once.

    Args:
        pair: What to read.
        cache: Folder of decoded pairs, made where it is not there; empty: decode.

    Returns:
        (H, W, 3) uint8 BGR and (H, W) uint16 millimetres, not to be written to.

    Raises:
        PairsError: As :func:`read_stored_pair`, or the cache's disk is full.
    """
    if not cache or not (pair.image.is_file() and pair.depth.is_file()):
        return read_stored_pair(pair)
    image_file, depth_file = cache_files(pair, Path(cache))
    # After a power cut a file may be there and empty.
    with contextlib.suppress(FileNotFoundError, EOFError, ValueError):
        return np.load(image_file, mmap_mode="r").view(np.ndarray), np.load(depth_file, mmap_mode="r").view(np.ndarray)
    image_bgr, depth_mm = read_stored_pair(pair)
    image_file.parent.mkdir(parents=True, exist_ok=True)
    # Depth last: both are there once it is.
    for file, array in ((image_file, image_bgr), (depth_file, depth_mm)):
        part = file.with_name(f"{file.name}.{os.getpid()}.part")  # of several loader processes each writes its own
        try:
            with part.open("wb") as stream:
                np.save(stream, array)
            os.replace(part, file)
        except OSError as error:
            part.unlink(missing_ok=True)
            if not is_full_disk(error):
                raise
            # Of an OSError a loader process passes on the text alone, by which nobody could tell a full disk.
            raise PairsError(
                f"the disk of data.cache={cache} is full: free some space, name another folder, or train without it"
            ) from error
    return image_bgr, depth_mm
