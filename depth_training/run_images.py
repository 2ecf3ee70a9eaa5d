"""Which images a run learns from and which it holds apart, kept in its folder and held against what comes later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from depth_training.checkpoint import RunError, load_checkpoint, short_name
from depth_training.config import ConfigError, TrainingConfig, load_config
from depth_training.data.pairs import Pair
from depth_training.files import write_whole
from depth_training.initialisation import find_checkpoint

FILE = "images.csv"
LEARNT = ("training", "replayed")
REMEDY = (
    "figures on them flatter, and a confidence calibrated on them is too sure: give optimiser.seed, data.split and "
    "data.validation_share as that run had, or other images by data.validation_pairs"
)


def _table(parts: Mapping[str, Iterable[Pair]]) -> pd.DataFrame:
    # Folders are moved as a whole, and `prepare` numbers the images of every set alike: names alone would not do.
    rows = [
        (part, "/".join(file.parts[-3:]), file.stat().st_size if file.is_file() else 0)
        for part, pairs in parts.items()
        for file in (pair.image.resolve() for pair in pairs)
    ]
    return pd.DataFrame(rows, columns=["part", "image", "bytes"])


def _images(table: pd.DataFrame, parts: Sequence[str]) -> set[tuple[str, int]]:
    chosen = table[table["part"].isin(parts)]
    return set(zip(chosen["image"], chosen["bytes"], strict=True))


def save_images(run: Path, parts: Mapping[str, Sequence[Pair]]) -> None:
    """Write ``images.csv`` to a run's folder: each image with the part that it belongs to.

    Args:
        run: Folder of the run.
        parts: Pairs by what becomes of them, for example ``training`` and ``validation``.
    """
    write_whole(run / FILE, _table(parts).to_csv(index=False))


def refuse_changed_images(run: Path, parts: Mapping[str, Sequence[Pair]], otherwise: str) -> None:
    """Refuse to go on with other images than a run was begun with, or with the same ones in other parts.

    Args:
        run: Folder of the run.
        parts: Pairs by what becomes of them; parts that are not given are not compared.
        otherwise: What to do in place of giving the run its own pairs back, for the message.

    Raises:
        RunError: They are not those of its ``images.csv``; a run that was begun before there was such a file passes.
    """
    if not (run / FILE).is_file():
        return
    begun_with, given = pd.read_csv(run / FILE), _table(parts)
    for part in parts:
        before, now = _images(begun_with, [part]), _images(given, [part])
        if before != now:
            raise RunError(
                f"{run} was begun with {len(before)} {part} images, now there are {len(now)}, and {len(before ^ now)} "
                f"are in one of the two alone: go on with the pairs file it had, or {otherwise}"
            )


def warn_of_learnt(config: TrainingConfig, parts: Mapping[str, Sequence[Pair]]) -> str:
    """What to say where the network that a run starts from may have learnt images which the run holds apart.

    Args:
        config: Of the run.
        parts: Its pairs by what becomes of them; ``validation``, ``test`` and ``base test`` are looked at.

    Returns:
        A sentence; empty where there are none, or where they are new to that network as far as can be known.
    """
    if not config.init:
        return ""
    data = config.data
    listed_by = {"validation": data.validation_pairs or data.pairs, "test": data.pairs, "base test": data.replay_pairs}
    held_parts = {part: parts[part] for part in listed_by if parts.get(part)}
    held = _images(_table(held_parts), list(held_parts))
    name, seen = config.init, set()
    while held and name and name not in seen:
        seen.add(name)
        try:
            checkpoint = find_checkpoint(name)
        except ConfigError:  # the run before the last one may be gone
            return ""
        folder = checkpoint.parent
        if not (folder / FILE).is_file():  # a bundled network's, which stayed where it was trained
            learnt = load_checkpoint(checkpoint)[1].training_data
            files = [listed_by[part] for part in held_parts]
            same = [csv for csv in files if re.search(rf"(^|\s){re.escape(short_name(csv))}(,| replayed)", learnt)]
            if same:
                return f"{name} was trained on images of {same[0]}, perhaps on those held apart here: {REMEDY}"
            return ""
        known = held & _images(pd.read_csv(folder / FILE), LEARNT)
        if known:
            return f"{name} was trained on {len(known)} of the {len(held)} images that are held apart here: {REMEDY}"
        name = load_config(folder / "config.yaml", []).init if (folder / "config.yaml").is_file() else ""
    return ""
