"""The official ``nyu_depth_v2_labeled.mat`` with its ``splits.mat``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import PairsError
from depth_training.data.sources.decoding import to_metres
from depth_training.data.sources.sample import Frame, Sample, Source, nyu_scene

# The data set's own calibration of its colour camera.
NYU_INTRINSICS = Intrinsics(518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465)
SPLIT_KEYS = {"train": "trainNdxs", "test": "testNdxs"}


def open_nyu_mat(path: Path, split: str = "all", splits_file: Path | None = None, raw: bool = False) -> Source:
    """List the labelled images of NYU Depth V2.

    The file is MATLAB v7.3, which is HDF5 with every array transposed: ``images`` (N, 3, W, H), ``depths`` (N, W, H).

    Args:
        path: The .mat file.
        split: ``train``, ``test`` or ``all``.
        splits_file: ``splits.mat``; by default the one beside ``path``.
        raw: Take ``rawDepths``, with holes, in place of the filled ``depths``.

    Raises:
        PairsError: No such file, no HDF5, an array that is missing or of another shape, or an unknown split.
    """
    h5py = _import("h5py", "nyu_depth_v2_labeled.mat is an HDF5 file")
    key = "rawDepths" if raw else "depths"
    if not path.is_file():
        raise PairsError(f"{path} does not exist: give the path of nyu_depth_v2_labeled.mat")
    try:
        with h5py.File(path) as file:
            missing = [name for name in ("images", key) if name not in file]
            if missing:
                raise PairsError(
                    f"{path} lacks {', '.join(missing)} (it has {', '.join(file)}): give nyu_depth_v2_labeled.mat"
                )
            images, depths = file["images"].shape, file[key].shape
    except OSError as error:
        raise PairsError(f"{path} is no MATLAB v7.3 (HDF5) file, or is cut off ({error}): download it again") from error
    if len(images) != 4 or images[1] != 3 or (images[0], *images[2:]) != depths:
        raise PairsError(f"{path} has images {images} and {key} {depths}: they must be (N, 3, W, H) and (N, W, H)")
    indices = _split_indices(split, splits_file or path.with_name("splits.mat"), images[0])
    return Source(len(indices), _samples(h5py, path, key, indices))


def _samples(h5py, path: Path, key: str, indices: Sequence[int]) -> Iterator[Sample]:
    file = h5py.File(path)
    for index in indices:

        def read(index: int = index) -> Frame:
            image_rgb = np.ascontiguousarray(file["images"][index].transpose(2, 1, 0))  # (3, W, H) -> (H, W, 3)
            depth_m = np.ascontiguousarray(file[key][index].T)
            return Frame(image_rgb, to_metres(depth_m, "m", f"{path.name}[{index}]"), NYU_INTRINSICS)

        yield Sample(f"{path.name}[{index}]", index, _scene(file, index), read)


def _scene(file, index: int) -> str:
    """The scene's name, such as ``kitchen_0004``; MATLAB keeps an array of references to arrays of characters."""
    if "scenes" not in file:
        return ""
    return nyu_scene("".join(map(chr, file[file["scenes"][0, index]][:].ravel())))


def _split_indices(split: str, splits_file: Path, count: int) -> list[int]:
    if split == "all":
        return list(range(count))
    if split not in SPLIT_KEYS:
        raise PairsError(f"unknown split {split!r}: choose train, test or all")
    if not splits_file.is_file():
        raise PairsError(
            f"{splits_file} does not exist: put splits.mat beside the .mat file, give its path with --splits-file, or "
            "take --split all"
        )
    read_mat = _import("scipy.io", "splits.mat is a MATLAB v5 file").loadmat
    try:
        variables = read_mat(splits_file)
    except (ValueError, NotImplementedError, OSError) as error:
        raise PairsError(f"{splits_file} is no MATLAB v5 file ({error}): give the official splits.mat") from error
    if SPLIT_KEYS[split] not in variables:
        raise PairsError(f"{splits_file} lacks {SPLIT_KEYS[split]}: give the official splits.mat")
    indices = variables[SPLIT_KEYS[split]].ravel().astype(int) - 1  # MATLAB counts from 1
    if len(indices) and not (indices.min() >= 0 and indices.max() < count):
        raise PairsError(f"{splits_file} names image {indices.max() + 1}, but the .mat file has {count}")
    return indices.tolist()


def _import(name: str, why: str):
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PairsError(f"{why}, and {name.partition('.')[0]} is not installed: pip install '.[train]'") from error
