"""Means over images with their bootstrap intervals: per image, pooled over pixels, and of paired differences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from depth_training.metrics import ROOT_METRICS

BOOTSTRAP_SAMPLES = 2000


def mean_and_interval(
    values: np.ndarray, weights: np.ndarray | None = None, squared: bool = False, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Mean over images and its 95 % interval, by resampling the images with replacement.

    Args:
        values: (N,) one per image.
        weights: (N,) what each image counts; None for all alike.
        squared: Take the root of the mean of squares in place of the mean.
        seed: Of the resampling.
    """
    weights = np.ones(len(values)) if weights is None else weights
    powers = np.square(values) if squared else values
    draws = np.random.default_rng(seed).integers(0, len(values), (BOOTSTRAP_SAMPLES, len(values)))
    means = np.append(
        (weights * powers)[draws].sum(axis=1) / weights[draws].sum(axis=1), np.average(powers, weights=weights)
    )
    means = np.sqrt(means) if squared else means
    low, high = np.percentile(means[:-1], [2.5, 97.5])
    return float(means[-1]), (float(low), float(high))


def means_and_intervals(rows: pd.DataFrame, names: tuple[str, ...], weights: np.ndarray | None = None) -> dict:
    """Mean of each column, and ``interval95`` with low and high; pooled by ``weights`` (pixels) where given."""
    means, intervals = {}, {}
    for name in names:
        squared = weights is not None and name in ROOT_METRICS
        means[name], intervals[name] = mean_and_interval(rows[name].to_numpy(), weights, squared)
    return {**means, "interval95": intervals}
