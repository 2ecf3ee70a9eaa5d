"""The two loaders that benchmark-data compares must do the same work, or the comparison says nothing."""

import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from depth_training.cli import app
from depth_training.config import DataConfig
from depth_training.data.benchmark import PillowPairs, greatest_difference, loader_rate, stage_rates
from depth_training.data.dataset import TrainingPairs
from depth_training.data.pairs import read_pairs

PAPER = {"flip": 0.5, "channel_swap": 0.5, "grayscale": 0.3}


def test_without_zoom_and_jitter_the_loaders_agree_bit_by_bit(pairs_csv):
    pairs, config = read_pairs(pairs_csv), DataConfig(**PAPER)
    assert greatest_difference(pairs, config) == (0, 0.0)
    torch.manual_seed(0)
    one = TrainingPairs(pairs, config)[0]
    torch.manual_seed(1)
    other = PillowPairs(pairs, config)[0]
    assert not torch.equal(one[0], other[0])  # another seed: the comparison would see it


def test_with_jitter_the_loaders_agree_within_the_levels_of_the_hue(pairs_csv):
    levels, share = greatest_difference(read_pairs(pairs_csv), DataConfig(**PAPER, jitter=0.2))
    assert levels <= 3
    assert share == 0


def test_what_pillow_cannot_do_is_refused(pairs_csv):
    with pytest.raises(ValueError, match="rotation_deg"):
        PillowPairs(read_pairs(pairs_csv), DataConfig(rotation_deg=1))


def test_every_stage_has_a_rate_and_the_whole_is_slower_than_its_parts(pairs_csv):
    rates = stage_rates(read_pairs(pairs_csv), DataConfig(), 4)
    assert list(rates) == ["read image", "read depth", "crop", "augment", "collate", "all"]
    assert 0 < rates["all"] < min(rate for name, rate in rates.items() if name != "all")


def test_too_few_images_to_time_are_refused(pairs_csv):
    dataset = TrainingPairs(read_pairs(pairs_csv), DataConfig())
    with pytest.raises(ValueError, match="12 images are too few to time 2 workers"):
        loader_rate(dataset, 12, 8, 2)


@pytest.mark.parametrize("cached", [False, True], ids=["decoding", "cached"])
def test_the_command_compares_the_loaders_cold_and_warm(pairs_csv: Path, tmp_path, cached):
    arguments = ["benchmark-data", "--pairs", str(pairs_csv), "--workers", "0", "--batch-size", "2"]
    result = CliRunner().invoke(app, [*arguments, *(["--cache", str(tmp_path)] if cached else [])])
    assert result.exit_code == 0, result.output
    assert "0 of 255" in result.output
    for state in ("cold", "warm"):
        row = rf"{state}\s+│\s+\d+\s+│" + r"\s+\d+ \(\d+\.\d\d x\)\s+│" * (1 + cached)
        assert re.search(row, result.output), result.output
    assert len(list(tmp_path.iterdir())) == 24 * cached
