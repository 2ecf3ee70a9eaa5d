"""Confidence against the normal distribution of Python's own statistics."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depth_estimation_ros.confidence import to_confidence

SIGMAS = st.floats(0.001953125, 8, width=32)


@given(SIGMAS)
def test_it_is_the_probability_that_depth_lies_within_a_quarter(sigma):
    error = NormalDist(0, sigma)
    expected = error.cdf(math.log(1.25)) - error.cdf(-math.log(1.25))
    assert to_confidence(np.array([sigma], np.float32))[0] == pytest.approx(expected, abs=5e-6)


@given(hnp.arrays(np.float32, (5, 7), elements=SIGMAS))
def test_it_falls_as_the_error_rises(sigma):
    confidence = to_confidence(sigma)
    assert (confidence.shape, confidence.dtype) == (sigma.shape, np.float32)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert (np.diff(confidence.ravel()[np.argsort(sigma, axis=None)]) <= 0).all()


def test_the_documented_values():
    sigma = np.array([0, 0.1, 0.2, 0.5, np.inf], np.float32)
    np.testing.assert_allclose(to_confidence(sigma), [1, 0.97, 0.74, 0.34, 0], atol=0.006)
