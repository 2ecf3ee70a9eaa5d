"""Which images a run learns from and which it holds apart, kept in its folder and held against what comes later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def _keys(pairs: Sequence[Pair]) -> list[str]:
    # A folder that was moved as a whole holds the same images.
    return ["/".join(pair.image.parts[-3:]) for pair in pairs]


def save_images(run: Path, parts: Mapping[str, Sequence[Pair]]) -> None:
    """Write ``images.csv`` to a run's folder: each image with the part that it belongs to.

    Args:
        run: Folder of the run.
        parts: Pairs by what becomes of them, for example ``training`` and ``validation``.
    """
    rows = [(part, key) for part, pairs in parts.items() for key in _keys(pairs)]
    write_whole(run / FILE, pd.DataFrame(rows, columns=["part", "image"]).to_csv(index=False))


def refuse_changed_images(run: Path, parts: Mapping[str, Sequence[Pair]]) -> None:
    """Refuse to go on with other images than a run was begun with, or with the same ones in other parts.

    Raises:
        RunError: They are not those of its ``images.csv``; a run that was begun before there was such a file passes.
    """
    if not (run / FILE).is_file():
        return
    table = pd.read_csv(run / FILE, dtype=str)
    for part, pairs in parts.items():
        before, now = set(table["image"][table["part"] == part]), set(_keys(pairs))
        if before != now:
            raise RunError(
                f"{run} was begun with {len(before)} {part} images, {len(before - now)} of which are not among the "
                f"{len(now)} of now: go on with the pairs file it had, or give another --output"
            )


def warn_of_learnt(config: TrainingConfig, held_apart: Sequence[Pair]) -> str:
    """What to say where the network that a run starts from may have learnt images which the run holds apart.

    Args:
        config: Of the run.
        held_apart: Its validation pairs.

    Returns:
        A sentence; empty where there are none, or where they are new to that network as far as can be known.
    """
    held, name = set(_keys(held_apart)), config.init
    while held and name:
        try:
            checkpoint = find_checkpoint(name)
        except ConfigError:  # the run before the last one may be gone
            return ""
        folder = checkpoint.parent
        if not (folder / FILE).is_file():
            # The figures of a bundled network's run stayed where it was trained.
            if load_checkpoint(checkpoint)[1].training_data.startswith(f"{short_name(config.data.pairs)},"):
                return (
                    f"{name} was trained on images of {config.data.pairs}, perhaps on those held apart here: {REMEDY}"
                )
            return ""
        table = pd.read_csv(folder / FILE, dtype=str)
        known = held & set(table["image"][table["part"].isin(LEARNT)])
        if known:
            return f"{name} was trained on {len(known)} of the {len(held)} images that are held apart here: {REMEDY}"
        name = load_config(folder / "config.yaml", []).init if (folder / "config.yaml").is_file() else ""
    return ""
