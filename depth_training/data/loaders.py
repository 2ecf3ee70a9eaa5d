"""The loaders of a run: what is trained on, and what is held apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
from torch.utils.data import DataLoader

from depth_training.config import DataConfig
from depth_training.data.dataset import FullPairs, TrainingPairs
from depth_training.data.epoch_order import EpochBatches, PartOfAll, SeededSamples
from depth_training.data.pairs import Pair, PairsError

# Whole images at full size: few fit beside the training.
MOST_VALIDATED_AT_ONCE = 8


def training_loader(
    training: Sequence[Pair], replayed: Sequence[Pair], config: DataConfig, batch_size: int, seed: int
) -> tuple[DataLoader, EpochBatches]:
    """The loader of (image, depth, path) batches, and its order, which a resumed run may enter in the middle.

    Args:
        training: Pairs to be seen once an epoch.
        replayed: Pairs of which each batch has ``replay_share``; none for an ordinary run.
        config: Crops, augmentation, workers.
        batch_size: Samples per step, over all processes.
        seed: Of order and augmentation.

    Raises:
        PairsError: There are not enough pairs for one batch.
    """
    _one_thread()
    order = EpochBatches(len(training), batch_size, seed, len(replayed), config.replay_share, config.other_aspects)
    samples = SeededSamples(TrainingPairs([*training, *replayed], config), seed)
    return DataLoader(samples, batch_sampler=order, **_workers(config)), order


def validation_loader(pairs: Sequence[Pair], config: DataConfig, batch_size: int) -> DataLoader:
    """The loader of whole images with depth; of several processes each gets its part."""
    return _full_loader(pairs, config, batch_size, PartOfAll(len(pairs)))


def whole_loader(pairs: Sequence[Pair], config: DataConfig, batch_size: int) -> DataLoader:
    """The same with all pairs for the process that asks."""
    return _full_loader(pairs, config, batch_size, None)


def _full_loader(pairs: Sequence[Pair], config: DataConfig, batch_size: int, sampler: PartOfAll | None) -> DataLoader:
    _one_thread()
    size = min(batch_size, MOST_VALIDATED_AT_ONCE)
    return DataLoader(FullPairs(pairs, config), size, sampler=sampler, **_workers(config))


def _workers(config: DataConfig) -> dict[str, Any]:
    return {"num_workers": config.workers, "persistent_workers": config.workers > 0}


def _one_thread() -> None:
    cv2.setNumThreads(1)  # loader processes inherit it: they are the parallelism


def plain_pairs_error(error: PairsError) -> PairsError:
    """The sentence of an error that a loader process wrapped in its traceback."""
    last_line = str(error).rstrip().splitlines()[-1]
    return PairsError(last_line.rpartition(f"{PairsError.__name__}: ")[2])
