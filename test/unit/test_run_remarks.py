"""What a run says of its pairs: held against pairs made to deserve it, and to deserve nothing."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_training.config import DataConfig, TrainingConfig  # noqa: E402
from depth_training.data.pairs import Pair  # noqa: E402
from depth_training.run_remarks import remarks_on_pairs  # noqa: E402


def pairs_of(folder: Path, indices: list[int], depth_mm: int = 2500, scene: str = "") -> list[Pair]:
    cv2.imwrite(str(folder / "depth.png"), np.full((480, 640), depth_mm, np.uint16))
    return [Pair(folder / f"{index}.jpg", folder / "depth.png", index, scene=scene) for index in indices]


def remarks(training: list[Pair], validation: list[Pair], **data) -> list[str]:
    config = TrainingConfig(data=DataConfig(pairs="pairs.csv", **data))
    return remarks_on_pairs(config, {"training": training, "validation": validation, "test": []})


def test_frames_numbered_with_gaps_are_no_rooms(tmp_path):
    """As every fifth frame of a video keeps its number."""
    every_fifth = pairs_of(tmp_path, [5 * number for number in range(40)])
    [said] = remarks(every_fifth[:30], every_fifth[30:])
    assert said.startswith("40 of 40 pairs have no neighbour by their index")
    assert "a column scene" in said
    assert remarks(every_fifth, []) == []  # nothing is held apart
    assert remarks(every_fifth[:30], every_fifth[30:], split="frames") == []
    assert remarks(every_fifth[:30], every_fifth[30:], validation_pairs="other.csv") == []
    named = [dataclasses.replace(pair, scene=f"room {pair.index // 50}") for pair in every_fifth]
    assert remarks(named[:30], named[30:]) == []
    stretches = pairs_of(tmp_path, [10 * (number // 4) + number % 4 for number in range(40)])
    assert remarks(stretches[:32], stretches[32:]) == []


@pytest.mark.parametrize(
    ("depth_mm", "mistake"), [(12, "metres read as millimetres"), (50_000, "5000 steps a metre (tum)")]
)
def test_depth_in_another_unit_is_named(tmp_path, depth_mm, mistake):
    [said] = remarks(pairs_of(tmp_path, list(range(12)), depth_mm), [])
    assert f"30 m: {mistake}" in said
    assert "`prepare --unit`" in said
    assert remarks(pairs_of(tmp_path, [0, 1, 2], 0), []) == []  # nothing known, nothing to say
