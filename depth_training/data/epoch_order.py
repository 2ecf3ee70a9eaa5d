"""The order of an epoch and the random numbers of a sample, each a pure function of seed, epoch and place.

Whatever was running before does not matter then: loader workers, batches made ahead, a run that was killed and resumed,
and the number of processes that share a batch all give the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from depth_training.data.dataset import TrainingPairs
from depth_training.data.pairs import PairsError

# Width over height of the views that are not of the configured shape: common cameras, and one held upright.
OTHER_ASPECTS = (16 / 9, 1.0, 3 / 4)


class SampleKey(NamedTuple):
    """One sample of a run: which pair, the epoch that it is seen in, and the view's shape, the same for a batch.

    `occurrence` counts from 0 how often an epoch has shown the pair before, as it does with replayed ones.
    """

    epoch: int
    pair: int
    aspect: float | None = None  # width over height; None for the configured size
    occurrence: int = 0


def derived_seed(*numbers: int) -> int:
    """Mix non-negative numbers to one seed of 64 bits; neighbours give unrelated seeds, last zeros do not count."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def seeded_generator(*numbers: int) -> torch.Generator:
    """Random numbers that follow from these alone."""
    return torch.Generator().manual_seed(derived_seed(*numbers))


def process_place() -> tuple[int, int]:
    """(rank, number) of the processes that train together; (0, 1) alone."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)


def _shuffled(count: int, length: int, *seed: int) -> list[int]:
    """The first ``length`` of one random order of ``count`` after the other."""
    generator = seeded_generator(*seed)
    order: list[int] = []
    while len(order) < length:
        order += torch.randperm(count, generator=generator).tolist()
    return order[:length]


class EpochBatches(Sampler[list[SampleKey]]):
    """The batches of one epoch after the other, shuffled; a last one that is not full is left out.

    With several processes each gets every so-manieth sample of a batch, so that a batch is the same for any number.

    Args:
        count: Pairs to be seen once an epoch: indices 0 to ``count - 1``.
        batch_size: Samples per batch, over all processes.
        seed: Of the order.
        replayed: Pairs that follow them in the data set, of which each batch has a share.
        replay_share: That share of each batch.
        other_aspects: Probability that a batch has one of :data:`OTHER_ASPECTS`.

    Raises:
        PairsError: There are not enough pairs for one batch.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        replayed: int = 0,
        replay_share: float = 0.0,
        other_aspects: float = 0.0,
    ):
        self.count, self.seed, self.replayed, self.other_aspects = count, seed, replayed, other_aspects
        self.replay_per_batch = min(batch_size - 1, round(batch_size * replay_share)) if replayed else 0
        self.own_per_batch = batch_size - self.replay_per_batch
        if count < self.own_per_batch:
            raise PairsError(
                f"{count} training pairs do not fill one batch, which takes {self.own_per_batch} of them: lower "
                "optimiser.batch_size, or give more pairs"
            )
        self.epoch = self.first_batch = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.count // self.own_per_batch

    def start_at(self, epoch: int, batch: int) -> None:
        """Let the next iteration give the batches of this epoch from this one on."""
        self.epoch, self.first_batch = epoch, batch

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration give all batches of this epoch; one that was entered in the middle stays so."""
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def batch(self, own: list[int], replayed: list[int], number: int) -> list[SampleKey]:
        """All samples of one batch."""
        mine = own[number * self.own_per_batch : (number + 1) * self.own_per_batch]
        aspect = self.draw_aspect(number)
        draws = range(number * self.replay_per_batch, (number + 1) * self.replay_per_batch)
        # They come in one whole order after the other.
        theirs = [SampleKey(self.epoch, self.count + replayed[draw], aspect, draw // self.replayed) for draw in draws]
        return [SampleKey(self.epoch, pair, aspect) for pair in mine] + theirs

    def draw_aspect(self, number: int) -> float | None:
        """Shape of all views of one batch of this epoch, whatever the number of processes."""
        if not self.other_aspects:
            return None
        drawn, place = torch.rand(2, generator=seeded_generator(self.seed, self.epoch, number, 2)).tolist()
        return OTHER_ASPECTS[int(place * len(OTHER_ASPECTS))] if drawn < self.other_aspects else None

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """This process's part of each batch."""
        rank, processes = process_place()
        own = _shuffled(self.count, self.count, self.seed, self.epoch)
        replayed = _shuffled(self.replayed, len(self) * self.replay_per_batch, self.seed, self.epoch, 1)
        # A list, not a generator: the epoch is that of this moment, not of when a worker asks for its first batch.
        return iter(
            [self.batch(own, replayed, number)[rank::processes] for number in range(self.first_batch, len(self))]
        )


class PartOfAll(Sampler[int]):
    """Every so-manieth index for each process: none twice, so that sums over processes are those of one."""

    def __init__(self, count: int):
        self.count = count

    def _mine(self) -> range:
        rank, processes = process_place()
        return range(rank, self.count, processes)

    def __len__(self) -> int:
        return len(self._mine())

    def __iter__(self) -> Iterator[int]:
        return iter(self._mine())


class SeededSamples(Dataset):
    """Training samples whose random numbers follow from seed, epoch and index alone, each with its image's path."""

    def __init__(self, samples: TrainingPairs, seed: int):
        self.samples = samples
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, keys: list[SampleKey]) -> list[tuple[Tensor, Tensor, str]]:
        """The samples of one batch, as the loader asks for them."""
        self.samples.read_ahead(key.pair for key in keys)
        return [self[key] for key in keys]

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor, str]:
        """The image and depth of :class:`TrainingPairs`, and the path of the image for messages."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(self.seed, key.epoch, key.pair, key.occurrence))
            image, depth_m = self.samples.view(key.pair, key.aspect)
        return image, depth_m, str(self.samples.pairs[key.pair].image)
