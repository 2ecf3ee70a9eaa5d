"""Plain pairs of files listed in a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from depth_training.data.pairs import Pair, read_pairs
from depth_training.data.sources.bts import read_bytes
from depth_training.data.sources.decoding import decode_depth_file, decode_image_file, encoded_image
from depth_training.data.sources.sample import Frame, Sample, Source


def open_csv(path: Path, root: Path | None = None, unit: str = "mm") -> Source:
    """List the pairs of a CSV file in the layout of :func:`depth_training.data.pairs.read_pairs`.

    Args:
        path: The CSV file.
        root: Folder that its paths start from; by default the CSV file's own.
        unit: Of the depth files, a key of ``UNITS_M``.

    Raises:
        PairsError: As ``read_pairs``.
    """
    pairs = read_pairs(path)
    return Source(len(pairs), _samples(pairs, path.parent, root or path.parent, unit))


def _samples(pairs: list[Pair], folder: Path, root: Path, unit: str) -> Iterator[Sample]:
    for pair in pairs:
        image_path, depth_path = (
            root / (path.relative_to(folder) if path.is_relative_to(folder) else path)
            for path in (pair.image, pair.depth)
        )

        def read(pair: Pair = pair, image_path: Path = image_path, depth_path: Path = depth_path) -> Frame:
            image_data, depth_data = read_bytes(image_path), read_bytes(depth_path)
            image_rgb = decode_image_file(image_data, str(image_path))
            depth_m = decode_depth_file(depth_data, unit, str(depth_path))
            return Frame(image_rgb, depth_m, pair.intrinsics, encoded_image(image_data, image_path.name))

        yield Sample(str(image_path), pair.index, pair.scene, read)
