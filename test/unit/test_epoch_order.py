"""Order and random numbers of an epoch as pure functions: of seed, epoch and index, not of what ran before."""

from itertools import chain

import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from depth_training.config import DataConfig  # noqa: E402
from depth_training.data import epoch_order  # noqa: E402
from depth_training.data.dataset import TrainingPairs  # noqa: E402
from depth_training.data.epoch_order import OTHER_ASPECTS, EpochBatches, PartOfAll, SampleKey, SeededSamples  # noqa: E402
from depth_training.data.pairs import Pair, PairsError  # noqa: E402


def batches_of(order: EpochBatches, epoch: int) -> list[list[int]]:
    order.set_epoch(epoch)
    batches = list(order)
    assert len(batches) == len(order)
    assert {key.epoch for batch in batches for key in batch} == {epoch}
    return [[key.pair for key in batch] for batch in batches]


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_shows_no_pair_twice_and_leaves_out_less_than_a_batch(count, batch_size, epoch):
    if count < batch_size:
        with pytest.raises(PairsError, match=rf"{count} training pairs .*batch_size"):
            EpochBatches(count, batch_size, 0)
        return
    seen = list(chain.from_iterable(batches_of(EpochBatches(count, batch_size, 0), epoch)))
    assert len(set(seen)) == len(seen) == count - count % batch_size
    assert set(seen) <= set(range(count))


def test_the_order_follows_from_seed_and_epoch_alone():
    order = EpochBatches(40, 4, 7)
    epochs = [batches_of(order, epoch) for epoch in range(3)]
    assert batches_of(EpochBatches(40, 4, 7), 2) == epochs[2]
    assert len({str(epoch) for epoch in epochs}) == 3
    assert batches_of(EpochBatches(40, 4, 8), 0) != epochs[0]


def test_a_resumed_run_enters_an_epoch_in_the_middle_and_the_next_one_at_its_beginning():
    whole = EpochBatches(40, 4, 7)
    resumed = EpochBatches(40, 4, 7)
    resumed.start_at(2, 6)
    resumed.set_epoch(2)  # as the trainer does when it goes on with the epoch
    whole.set_epoch(2)
    assert list(resumed) == list(whole)[6:]
    assert len(resumed) == len(whole)
    assert batches_of(resumed, 3) == batches_of(whole, 3)


def test_a_pair_that_is_replayed_more_than_once_in_an_epoch_is_seen_anew_each_time():
    order = EpochBatches(40, 4, 7, replayed=6, replay_share=0.5)
    keys = list(chain.from_iterable(order))
    assert len(set(keys)) == len(keys) == 80
    drawn = [key for key in keys if key.pair >= 40]
    assert [key.occurrence for key in drawn] == [draw // 6 for draw in range(40)]
    samples = SeededSamples(Drawing(46), 3)
    again = [samples[key][1] for key in drawn if key.pair == drawn[0].pair]
    assert len(again) > 5
    assert not any(torch.equal(again[0], other) for other in again[1:])


@given(st.integers(1, 4), st.integers(1, 5), st.floats(0, 0.9))
def test_the_processes_parts_make_the_batch_of_one(processes, per_process, share):
    order = EpochBatches(50, processes * per_process, 1, replayed=9, replay_share=share)
    alone = batches_of(order, 1)
    with pytest.MonkeyPatch.context() as patch:
        parts = []
        for rank in range(processes):
            patch.setattr(epoch_order, "process_place", lambda rank=rank: (rank, processes))
            parts.append(batches_of(order, 1))
    for number, batch in enumerate(alone):
        assert sorted(chain.from_iterable(part[number] for part in parts)) == sorted(batch)
        assert {len(part[number]) for part in parts} == {per_process}


@given(st.integers(0, 30), st.integers(1, 5))
def test_validation_is_shared_out_without_a_pair_twice(count, processes):
    with pytest.MonkeyPatch.context() as patch:
        parts = []
        for rank in range(processes):
            patch.setattr(epoch_order, "process_place", lambda rank=rank: (rank, processes))
            part = PartOfAll(count)
            parts.append(list(part))
            assert len(part) == len(parts[-1])
    assert sorted(chain.from_iterable(parts)) == list(range(count))


def test_every_batch_has_its_share_of_the_replayed_pairs():
    order = EpochBatches(30, 8, 0, replayed=7, replay_share=0.25)
    batches = batches_of(order, 0)
    assert len(batches) == 5  # six of the thirty pairs each
    assert [sum(index >= 30 for index in batch) for batch in batches] == [2] * 5
    replayed = [index - 30 for batch in batches for index in batch if index >= 30]
    assert set(replayed[:7]) == set(range(7)), "all of them once before any of them twice"
    assert [index for batch in batches_of(order, 1) for index in batch if index >= 30] != [i + 30 for i in replayed]


def test_other_shapes_are_drawn_for_whole_batches_as_often_as_asked():
    order = EpochBatches(1600, 4, 3, other_aspects=0.3)
    aspects = [{key.aspect for key in batch} for batch in order]
    assert all(len(of_batch) == 1 for of_batch in aspects)
    drawn = [aspect for of_batch in aspects for aspect in of_batch]
    assert drawn.count(None) / len(drawn) == pytest.approx(0.7, abs=0.09)  # four standard deviations of 400
    assert set(drawn) == {None, *OTHER_ASPECTS}
    plain = EpochBatches(1600, 4, 3)
    assert [[key.pair for key in batch] for batch in order] == [[key.pair for key in batch] for batch in plain]
    assert {key.aspect for batch in plain for key in batch} == {None}


def test_processes_that_share_a_batch_draw_one_shape(monkeypatch):
    order = EpochBatches(64, 8, 3, other_aspects=0.5)
    together = [batch[0].aspect for batch in order]
    for rank in range(2):
        monkeypatch.setattr("depth_training.data.epoch_order.process_place", lambda rank=rank: (rank, 2))
        assert [batch[0].aspect for batch in order] == together


class Drawing(TrainingPairs):
    """Pairs whose image and depth are random numbers alone."""

    def __init__(self, count: int):
        super().__init__([Pair(f"{number}.jpg", f"{number}.png", number) for number in range(count)], DataConfig())

    def view(self, item: int, aspect: float | None = None):
        return torch.randint(0, 256, (3,), dtype=torch.uint8), torch.rand(1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_is_the_same_whatever_was_drawn_before_and_whoever_draws_it(workers):
    samples, order = SeededSamples(Drawing(12), 3), EpochBatches(12, 3, 3)
    expected = {index: samples[SampleKey(0, index)] for index in range(12)}
    torch.manual_seed(5)
    for number, (image, depth_m, names) in enumerate(DataLoader(samples, batch_sampler=order, num_workers=workers)):
        for place, key in enumerate(list(order)[number]):
            assert torch.equal(image[place], expected[key.pair][0])
            assert torch.equal(depth_m[place], expected[key.pair][1])
            assert names[place] == f"{key.pair}.jpg"
    assert not torch.equal(samples[SampleKey(1, 0)][1], expected[0][1])
    assert not torch.equal(SeededSamples(Drawing(12), 4)[SampleKey(0, 0)][1], expected[0][1])


def test_drawing_a_sample_leaves_the_trainers_random_numbers_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    SeededSamples(Drawing(2), 3)[SampleKey(0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
