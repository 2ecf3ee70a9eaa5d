"""What a run says of its pairs before it begins: all that lets figures flatter or metric scale go wrong in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from depth_training.config import DataConfig, TrainingConfig
from depth_training.data.dataset import is_training_camera, source_matrix
from depth_training.data.pairs import Pair, depth_size, read_depth
from depth_training.data.prepare import SURE_M, doubtful_unit
from depth_training.data.splits import consecutive_blocks
from depth_training.evaluation import evenly_spread
from depth_training.run_images import warn_of_learnt

# Share of the pairs without a neighbour from which on the index is no sign of rooms.
LEAST_ALONE = 0.9
JUDGED_FOR_UNIT = 9


def remarks_on_pairs(config: TrainingConfig, parts: Mapping[str, Sequence[Pair]]) -> list[str]:
    """One sentence for each doubt.

    Args:
        config: Of the run.
        parts: Its pairs by what becomes of them, as :func:`~depth_training.data.splits.parts_of_run` gives them.

    Raises:
        PairsError: A depth map cannot be read.
    """
    training = parts["training"]
    remarks = (
        warn_of_learnt(config, parts),
        _assumed_lens(training, config.data),
        _single_frames(parts, config.data),
        _doubtful_unit(training),
    )
    return [remark for remark in remarks if remark]


def _assumed_lens(pairs: Sequence[Pair], data: DataConfig) -> str:
    silent = next((pair for pair in pairs if pair.intrinsics is None and not is_training_camera(pair, data)), None)
    if silent is None:
        return ""
    height, width = depth_size(silent)
    fx = source_matrix(silent, data, (height, width))[0, 0]
    return (
        f"images of {width}x{height} do not say their focal length: taken to show as much along the longer side as the "
        f"training camera's, {fx:.1f} pixels; the columns fx, fy of the pairs file give another"
    )


def _single_frames(parts: Mapping[str, Sequence[Pair]], data: DataConfig) -> str:
    held_apart = [*parts["test"], *([] if data.validation_pairs else parts["validation"])]
    pairs = [*parts["training"], *held_apart]
    if data.split != "blocks" or not held_apart or any(pair.scene for pair in pairs):
        return ""
    alone = sum(len(block) == 1 for block in consecutive_blocks(pairs))
    if alone < LEAST_ALONE * len(pairs):
        return ""
    return (
        f"{alone} of {len(pairs)} pairs have no neighbour by their index, so that each counts as a room of its own: "
        "where several show one room, as frames of a video do, what is held apart is not new to the network; name the "
        "rooms in a column scene, or number frames without gaps"
    )


def _doubtful_unit(pairs: Sequence[Pair]) -> str:
    known_m = [depth_m[depth_m > 0] for depth_m in (read_depth(p.depth) for p in evenly_spread(pairs, JUDGED_FOR_UNIT))]
    doubt = doubtful_unit([float(np.median(each)) for each in known_m if each.size], SURE_M, "millimetres")
    return doubt and f"{doubt} `prepare --unit` makes millimetres of other units"
