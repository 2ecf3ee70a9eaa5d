"""How sure a row is: standard errors over seeds and over images, and when two rows are a tie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TIE_RULE = (
    "Two rows are a tie where they differ by no more than one standard error of their difference: the root of the sum "
    "of the squared errors of both rows' means over seeds, and of the error over images of the difference image by "
    "image (both rows see the same images)."
)


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Standard error of the mean, n - 1 in the deviation; NaN for fewer than two values."""
    values = np.asarray(values, dtype=float)
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Score:
    """One metric of one row of a table: (seeds, images) float64, NaN where an image has no known pixel."""

    values: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over images, then over seeds."""
        return float(np.nanmean(self.values, axis=1).mean())

    @property
    def seed_error(self) -> float:
        """Standard error of the mean over seeds; NaN with a single one."""
        return standard_error(np.nanmean(self.values, axis=1))

    @property
    def image_error(self) -> float:
        """Standard error over images of the mean over seeds."""
        per_image = self.values.mean(axis=0)
        return standard_error(per_image[~np.isnan(per_image)])

    @property
    def error(self) -> float:
        """Both errors together."""
        return root_sum_square(self.seed_error, self.image_error)


def root_sum_square(*errors: float) -> float:
    """Independent errors together; unknown ones are left out, NaN where all are unknown."""
    known = [error for error in errors if not math.isnan(error)]
    return math.sqrt(sum(error**2 for error in known)) if known else math.nan


def difference(a: Score, b: Score) -> tuple[float, float]:
    """``a`` minus ``b`` on the same images, and its standard error.

    Raises:
        ValueError: They were measured on different numbers of images.
    """
    if a.values.shape[1] != b.values.shape[1]:
        raise ValueError(f"{a.values.shape[1]} and {b.values.shape[1]} images cannot be compared image by image")
    per_image = a.values.mean(axis=0) - b.values.mean(axis=0)
    per_image = per_image[~np.isnan(per_image)]
    return float(per_image.mean()), root_sum_square(standard_error(per_image), a.seed_error, b.seed_error)


def is_tie(a: Score, b: Score) -> bool:
    """Whether two rows differ by no more than one standard error; never where no error is known."""
    apart, error = difference(a, b)
    return abs(apart) <= error


def has_plateaued(values: Sequence[float], least_fall: float = 0.01) -> bool | None:
    """Whether a curve had stopped falling: its last quarter is on average less than 1 % below the quarter before.

    Args:
        values: One per epoch, lower is better.
        least_fall: Relative fall that counts.

    Returns:
        None for fewer than four epochs.
    """
    quarter = len(values) // 4
    if quarter == 0:
        return None
    last, before = np.mean(values[-quarter:]), np.mean(values[-2 * quarter : -quarter])
    return bool(last > (1 - least_fall) * before)
