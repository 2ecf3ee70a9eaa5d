"""The loop over pairs that `evaluate` and `compare` share, and the summary of what one source has done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from depth_training.data.pairs import Pair, PairsError, read_pair
from depth_training.evaluation import check_size, judge_prediction, pixel_weights, summarise
from depth_training.intervals import means_and_intervals
from depth_training.judging.confidence_masks import mask_sums, summarise_masks
from depth_training.judging.error_parts import PART_NAMES, bin_sums, compared_depths, error_parts, summarise_bins
from depth_training.judging.sources import DepthSource
from depth_training.protocols import Protocol


@dataclass(frozen=True)
class JudgedPair:
    """One pair under every source.

    Attributes:
        image: Name of the image.
        rows: For each source every metric, the number of ``pixels`` and the parts of the error.
        bins: For each source (bins, 5), see :func:`bin_sums`.
        masks: For each source (thresholds, 4), see :func:`mask_sums`; None where it tells no confidence.
        disagreement: Mean over the compared pixels of ln(farthest / nearest prediction); 0 for one source.
    """

    image: str
    rows: list[dict[str, float]]
    bins: list[np.ndarray]
    masks: list[np.ndarray | None]
    disagreement: float


def answered_pairs(sources: Sequence[DepthSource], pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs for which every source has an answer.

    Raises:
        PairsError: There is none.
    """
    answered = [pair for pair in pairs if all(source.answers(pair) for source in sources)]
    if not answered:
        raise PairsError(
            f"no image has a prediction of each of {', '.join(source.name for source in sources)}: give folders that "
            "hold predictions of the same images"
        )
    return answered


def judge_pairs(sources: Sequence[DepthSource], pairs: Iterable[Pair], protocol: Protocol) -> Iterator[JudgedPair]:
    """Judge every source on every pair.

    Raises:
        PairsError, PredictionsError: A pair or a prediction that cannot be read.
        ProtocolError: A pair that is not of the protocol's size.
    """
    for pair in pairs:
        image_rgb, truth_m = read_pair(pair)
        check_size(pair, truth_m, protocol)
        rows, bins, masks, logs = [], [], [], []
        for source in sources:
            predicted = source.predict(pair, image_rgb)
            depth_m = predicted.depth_m
            rows.append({**judge_prediction(predicted, truth_m, protocol), **error_parts(depth_m, truth_m, protocol)})
            bins.append(bin_sums(depth_m, truth_m, protocol))
            sigma = predicted.log_depth_sigma
            masks.append(None if sigma is None else mask_sums(depth_m, sigma, truth_m, protocol))
            logs.append(np.log(compared_depths(depth_m, truth_m, protocol)[0]))
        disagreement = float(np.ptp(logs, axis=0).mean()) if logs[0].size else 0.0
        yield JudgedPair(pair.image.name, rows, bins, masks, disagreement)


def table_of(judged: Sequence[JudgedPair], source: int) -> pd.DataFrame:
    """One row per image of one source: ``image``, ``pixels``, every metric, the parts of the error."""
    return pd.DataFrame([{"image": pair.image, **pair.rows[source]} for pair in judged])


def summarise_source(
    judged: Sequence[JudgedPair], source: int, name: str, protocol: Protocol, reduce: str = "image"
) -> dict:
    """As :func:`summarise`, with ``error_parts`` (reduced alike) and ``depth_bins`` (all pixels of a bin).

    Where there is a confidence, ``confidence_masks`` says what :func:`summarise_masks` does, over all pixels.
    """
    rows = table_of(judged, source)
    result = summarise(rows, name, protocol, reduce)
    parts = rows.dropna(subset=list(PART_NAMES))
    result["error_parts"] = means_and_intervals(parts, PART_NAMES, pixel_weights(parts, reduce))
    result["depth_bins"] = summarise_bins(np.stack([pair.bins[source] for pair in judged]))
    masks = [mask for pair in judged if (mask := pair.masks[source]) is not None]
    if sum(mask[:, 0].sum() for mask in masks):
        result["confidence_masks"] = summarise_masks(np.stack(masks))
    return result
