"""Splitting pairs into training and validation (paper, section 2.4, and why its way leaks)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_training.config import DataConfig
from depth_training.data.pairs import Pair, PairsError, read_pairs

BLOCKS_REMEDY = (
    "; a block is a scene, or a run of consecutive indices: name each pair's room in a column scene, give others by "
    "data.validation_pairs, hold none apart by data.validation_share=0, or split frames by data.split=frames"
)


def consecutive_blocks(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Group pairs into runs of consecutive indices; a gap in the index, or another scene, starts a new run.

    Neighbouring indices are often frames of one room, so a run is the least that may be held apart. Where scenes are
    known, a scene is one block however its indices lie.
    """
    ordered = sorted(pairs, key=lambda pair: (pair.scene, pair.index))
    steps = np.diff([pair.index for pair in ordered])
    apart = [
        after.scene != before.scene or (not after.scene and step > 1)
        for before, after, step in zip(ordered[:-1], ordered[1:], steps, strict=True)
    ]
    starts = np.flatnonzero(apart) + 1
    return [list(block) for block in np.split(np.array(ordered, dtype=object), starts)]


def split_pairs(pairs: Sequence[Pair], kind: str, validation_share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split into training and validation pairs.

    Args:
        pairs: All pairs.
        kind: ``blocks`` keeps scenes, or runs of consecutive indices, whole; ``frames`` shuffles single frames, as the
            paper does, and so puts neighbouring frames of one room on both sides.
        validation_share: Share of the pairs to hold apart, between 0 and 1; with 0 all are for training.
        seed: Of the shuffle.

    Returns:
        (training, validation), each in order of index. With ``blocks`` the validation part is the first shuffled blocks
        that together reach the share, so it may be larger by a part of one block.

    Raises:
        PairsError: One side would be empty, or ``kind`` is unknown.
    """
    if kind == "blocks":
        units = consecutive_blocks(pairs)
    elif kind == "frames":
        units = [[pair] for pair in pairs]
    else:
        raise PairsError(f"unknown split {kind!r}: choose blocks or frames")
    wanted = validation_share * len(pairs)
    training: list[Pair] = []
    validation: list[Pair] = []
    for unit in np.random.default_rng(seed).permutation(len(units)):
        (validation if len(validation) < wanted else training).extend(units[unit])
    if not training or (validation_share > 0) != bool(validation):
        raise PairsError(
            f"the split {kind} of {len(pairs)} pairs with validation share {validation_share} leaves "
            f"{len(training)} for training and {len(validation)} for validation: both need at least one"
            + (BLOCKS_REMEDY if kind == "blocks" else "")
        )
    return sorted(training, key=lambda pair: pair.index), sorted(validation, key=lambda pair: pair.index)


def training_and_validation_pairs(config: DataConfig, seed: int) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train on and those to hold apart, as a run's settings say: by two files, or by a share of one.

    Raises:
        PairsError: A file cannot be used, or one side would be empty.
    """
    pairs, _ = pairs_and_test_pairs(config, seed)
    if config.validation_pairs:
        return pairs, read_pairs(Path(config.validation_pairs))
    return split_pairs(pairs, config.split, config.validation_share, seed)


def pairs_and_test_pairs(config: DataConfig, seed: int) -> tuple[list[Pair], list[Pair]]:
    """The pairs that training and validation share, and those that neither sees (``test_share``).

    Raises:
        PairsError: As :func:`training_and_validation_pairs`.
    """
    pairs = read_pairs(Path(config.pairs))
    return split_pairs(pairs, config.split, config.test_share, seed) if config.test_share else (pairs, [])


def parts_of_run(config: DataConfig, seed: int) -> dict[str, list[Pair]]:
    """The pairs of a run by what becomes of them: ``training``, ``replayed``, ``validation``, ``test``, ``base test``.

    Raises:
        PairsError: A file cannot be used, a side would be empty, or what is trained on is held apart as well.
    """
    training, validation = training_and_validation_pairs(config, seed)
    _, test = pairs_and_test_pairs(config, seed)
    replayed, base_test = replayed_and_test_pairs(config, seed)
    refuse_overlap([*training, *replayed], [*validation, *test, *base_test])
    return {
        "training": training, "replayed": replayed, "validation": validation, "test": test, "base test": base_test,
    }  # fmt: skip


def refuse_overlap(trained_on: Sequence[Pair], held_apart: Sequence[Pair]) -> None:
    """Refuse to judge by what is trained on.

    Raises:
        PairsError: Some images are in both.
    """
    trained = {pair.image.resolve() for pair in trained_on}
    both = [pair.image for pair in held_apart if pair.image.resolve() in trained]
    if both:
        raise PairsError(
            f"{len(both)} of {len(held_apart)} images to judge by are trained on as well (first: {both[0]}), so that "
            "they say nothing: take them out of data.pairs and data.replay_pairs, or out of those held apart"
        )


def replayed_and_test_pairs(config: DataConfig, seed: int) -> tuple[list[Pair], list[Pair]]:
    """The pairs of the base set to replay, and those of it held apart to see what is forgotten; none without one.

    Raises:
        PairsError: As :func:`training_and_validation_pairs`.
    """
    if not config.replay_pairs:
        return [], []
    return split_pairs(read_pairs(Path(config.replay_pairs)), config.split, config.replay_test_share, seed)
