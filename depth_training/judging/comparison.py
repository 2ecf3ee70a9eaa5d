"""Which of several is better on one set of images, and whether the set is large enough to say so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from depth_training.intervals import BOOTSTRAP_SAMPLES
from depth_training.metrics import METRIC_NAMES, ROOT_METRICS

TIE_RULE = (
    "Each difference is taken image by image on the same images. Within one standard error of it two are a tie; where "
    "its 95 % bootstrap interval holds zero they are not told apart."
)
BETTER_HIGH = ("delta1", "delta2", "delta3")
TIE, OPEN = "tie", "not told apart"


@dataclass(frozen=True)
class Difference:
    """One metric of two sources, ``a`` minus ``b``.

    Attributes:
        a: Name of the one.
        b: Name of the other.
        metric: Which.
        value: The difference.
        error: Its standard error, the spread of its bootstrap.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    a: str
    b: str
    metric: str
    value: float
    error: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``tie``, ``not told apart``, or who is better."""
        if abs(self.value) <= self.error:
            return TIE
        if self.low <= 0 <= self.high:
            return OPEN
        return self.a if (self.value > 0) == (self.metric in BETTER_HIGH) else self.b


def paired_difference(
    a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None, squared: bool = False, seed: int = 0
) -> tuple[float, float, tuple[float, float]]:
    """Difference of two means over the same images, its standard error and its 95 % interval.

    Args:
        a: (N,) one per image.
        b: (N,) of the same images.
        weights: (N,) what each image counts; None for all alike.
        squared: Take roots of means of squares in place of means.
        seed: Of the resampling, which draws the same images for both.
    """
    weights = np.ones(len(a)) if weights is None else weights
    places = np.random.default_rng(seed).integers(0, len(a), (BOOTSTRAP_SAMPLES, len(a)))
    drawn = np.concatenate([places, np.arange(len(a))[np.newaxis]])  # the last one is the set itself

    def means(values: np.ndarray) -> np.ndarray:
        powers = np.square(values) if squared else values
        mean = (weights * powers)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
        return np.sqrt(mean) if squared else mean

    differences = means(a) - means(b)
    low, high = np.percentile(differences[:-1], [2.5, 97.5])
    return float(differences[-1]), float(differences[:-1].std(ddof=1)), (float(low), float(high))


def compare_tables(tables: dict[str, pd.DataFrame], reduce: str = "image") -> list[Difference]:
    """Every metric of every two sources.

    Args:
        tables: One row per image by name of the source, the same images in the same order.
        reduce: ``image`` or ``pooled``.
    """
    measured = ~np.any([table["abs_rel"].isna() for table in tables.values()], axis=0)
    differences = []
    for (name_a, a), (name_b, b) in itertools.combinations(tables.items(), 2):
        weights = a["pixels"].to_numpy()[measured] if reduce == "pooled" else None
        for metric in METRIC_NAMES:
            values_a, values_b = (table[metric].to_numpy()[measured] for table in (a, b))
            squared = reduce == "pooled" and metric in ROOT_METRICS
            value, error, (low, high) = paired_difference(values_a, values_b, weights, squared)
            differences.append(Difference(name_a, name_b, metric, value, error, low, high))
    return differences


def best_of(results: Sequence[dict], metric: str) -> str:
    """Name of the source with the best mean."""
    pick = max if metric in BETTER_HIGH else min
    return pick(results, key=lambda result: result[metric])["model"]


def ties_with_best(results: Sequence[dict], differences: Sequence[Difference], metric: str) -> set[str]:
    """Names of the sources that are the best one or not told apart from it."""
    best = best_of(results, metric)
    level = {best}
    for difference in differences:
        if difference.metric == metric and best in (difference.a, difference.b) and difference.verdict != best:
            level |= {difference.a, difference.b}
    return level


def joined_table(tables: dict[str, pd.DataFrame], disagreement: Sequence[float]) -> pd.DataFrame:
    """One row per image: each source's metrics as ``METRIC NAME``, and how far the predictions lie apart."""
    first = next(iter(tables.values()))
    columns: dict[str, object] = {"image": first["image"], "pixels": first["pixels"]}
    for metric in METRIC_NAMES:
        columns |= {f"{metric} {name}": table[metric] for name, table in tables.items()}
    return pd.DataFrame({**columns, "disagreement": disagreement})
