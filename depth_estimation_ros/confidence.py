"""What a model says of its own error, as a number from 0 to 1."""

from __future__ import annotations

import math

import numpy as np

WITHIN = 1.25
"""Confidence is the probability that depth is right to this factor: within 25 % of the truth."""

_ARGUMENTS = np.linspace(0, 4, 1025)
_ERF = np.array([math.erf(x) for x in _ARGUMENTS])  # linear between these, it is right to 2e-6


def to_confidence(log_depth_sigma: np.ndarray) -> np.ndarray:
    """Turn the standard deviation of ln(depth) into the probability that depth lies within a factor of `WITHIN`.

    With a normal error of ln(depth) that is `erf(ln(1.25) / (sigma * sqrt(2)))`: sigma 0.1 gives 0.97, 0.2 gives 0.74
    and 0.5 gives 0.34.

    Args:
        log_depth_sigma: float32 of any shape, 0 or above.

    Returns:
        float32 of the same shape, 0 to 1, falling as sigma rises.
    """
    sigma = np.maximum(log_depth_sigma, np.float32(1e-6))
    return np.interp(math.log(WITHIN) / math.sqrt(2) / sigma, _ARGUMENTS, _ERF).astype(np.float32)
