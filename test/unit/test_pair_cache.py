"""Decoded pairs are the pairs, made once and anew where a file has changed."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

import torch
from torch.utils.data import DataLoader

from depth_training.config import DataConfig
from depth_training.data import pair_cache
from depth_training.data.dataset import TrainingPairs
from depth_training.data.pair_cache import read_ahead, read_cached_pair
from depth_training.data.pairs import Pair, PairsError, read_stored_pair


@pytest.fixture
def pair(tmp_path) -> Pair:
    random = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "a.jpg"), random.integers(0, 256, (480, 640, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), random.integers(0, 9000, (480, 640), np.uint16))
    return Pair(tmp_path / "a.jpg", tmp_path / "a.png", 0)


def test_a_pair_is_decoded_once(pair, tmp_path, monkeypatch):
    cache = str(tmp_path / "cache")
    expected = read_stored_pair(pair)
    first = read_cached_pair(pair, cache)
    monkeypatch.setattr(pair_cache, "read_stored_pair", None)
    for got in (first, read_cached_pair(pair, cache)):
        for array, truth in zip(got, expected, strict=True):
            assert array.dtype == truth.dtype
            assert np.array_equal(array, truth)
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".npy", ".npy"]


def test_a_file_that_has_changed_is_decoded_again(pair, tmp_path):
    cache = str(tmp_path / "cache")
    read_cached_pair(pair, cache)
    cv2.imwrite(str(pair.depth), np.full((480, 640), 1234, np.uint16))
    assert (read_cached_pair(pair, cache)[1] == 1234).all()


def test_a_pair_that_was_cached_by_half_is_decoded_again(pair, tmp_path):
    cache = str(tmp_path / "cache")
    expected = read_cached_pair(pair, cache)
    next((tmp_path / "cache").glob("*.depth.npy")).unlink()
    assert np.array_equal(read_cached_pair(pair, cache)[1], expected[1])


def test_a_file_that_a_power_cut_left_empty_is_decoded_again(pair, tmp_path):
    cache = str(tmp_path / "cache")
    expected = read_cached_pair(pair, cache)
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(b"")
        assert np.array_equal(read_cached_pair(pair, cache)[1], expected[1])


def test_a_full_disk_is_said_in_words_that_a_loader_process_can_pass_on(pair, tmp_path, monkeypatch):
    def save(stream, array):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(PairsError, match=r"disk of data\.cache=.* is full"):
        read_cached_pair(pair, str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


def test_what_is_no_pair_is_refused_as_without_a_cache(pair, tmp_path):
    missing = Pair(tmp_path / "none.jpg", pair.depth, 0)
    with pytest.raises(PairsError, match=r"none\.jpg cannot be read"):
        read_cached_pair(missing, str(tmp_path / "cache"))


@pytest.mark.parametrize("more", [{}, {"zoom": 1.0, "zoom_least": 0.7}, {"tilt_deg": 4.0, "jitter": 0.3}])
def test_training_sees_the_same_with_and_without(pair, tmp_path, more):
    results = []
    for cache in ("", str(tmp_path / "cache"), str(tmp_path / "cache")):
        torch.manual_seed(3)
        results.append(TrainingPairs([pair], DataConfig(**more, cache=cache))[0])
    for image, depth_m in results[1:]:
        assert torch.equal(image, results[0][0])
        assert torch.equal(depth_m, results[0][1])


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice about files")
@pytest.mark.parametrize("cached", [True, False])
def test_a_batch_says_what_it_will_read_before_it_reads(pair, tmp_path, monkeypatch, cached):
    cache = str(tmp_path / "cache") if cached else ""
    samples = TrainingPairs([pair, pair], DataConfig(pairs="", cache=cache))
    torch.manual_seed(7)
    one_by_one = [samples[0], samples[1]]
    advised, read = [], []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, *rest: advised.append(os.readlink(f"/proc/self/fd/{file}")))
    monkeypatch.setattr(TrainingPairs, "draw_border", lambda self: read.append(len(advised)) or self.config.border)
    torch.manual_seed(7)
    batch = next(iter(DataLoader(samples, 2, generator=torch.Generator())))
    expected = [
        str(file) for file in (pair_cache.cache_files(pair, Path(cache)) if cached else (pair.image, pair.depth))
    ]
    assert advised == 2 * expected
    assert read == [4, 4]
    for got, parts in zip(batch, zip(*one_by_one, strict=True), strict=True):
        assert torch.equal(got, torch.stack(parts))


def test_files_that_are_missing_are_the_readers_to_complain_of(pair, tmp_path):
    missing = Pair(tmp_path / "none.jpg", pair.depth, 0)
    read_ahead([missing, pair], "")
    read_ahead([missing, pair], str(tmp_path / "cache"))
