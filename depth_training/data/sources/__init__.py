"""Readers of the layouts in which people have image and depth pairs: one module each, one way to be read."""

from __future__ import annotations

from pathlib import Path

from depth_training.data.pairs import PairsError

KINDS = ("nyu-mat", "densedepth", "bts", "csv", "bag")


def detect_kind(path: Path) -> str:
    """Tell the layout of a source by its name and content.

    Raises:
        PairsError: It does not exist, or could be anything.
    """
    if not path.exists():
        raise PairsError(f"{path} does not exist: give a file or a folder with image and depth pairs")
    by_suffix = {".mat": "nyu-mat", ".zip": "densedepth", ".txt": "bts", ".csv": "csv", ".mcap": "bag", ".db3": "bag"}
    if path.is_file() and path.suffix.lower() in by_suffix:
        return by_suffix[path.suffix.lower()]
    if path.is_dir():
        if path.joinpath("metadata.yaml").exists() or any(path.glob("*.mcap")) or any(path.glob("*.db3")):
            return "bag"
        if any(path.joinpath(folder, "nyu2_train.csv").exists() for folder in ("data", ".")):
            return "densedepth"
    raise PairsError(f"{path} is of no layout known by its name: say which by --kind {'|'.join(KINDS)}")
