"""How many frames of a camera pass a limit, and which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.rate_limit import RateLimit


@pytest.mark.parametrize(
    ("camera_hz", "limit_hz", "expected_hz"), [(30, 20, 20), (30, 10, 10), (30, 29, 29), (30, 60, 30), (30, 0, 30)]
)
def test_the_average_rate_is_the_lower_of_the_two(camera_hz, limit_hz, expected_hz):
    limit = RateLimit()
    seconds = 10
    passed = sum(limit.admits(100 + frame / camera_hz, limit_hz) for frame in range(camera_hz * seconds))
    assert passed == pytest.approx(expected_hz * seconds, abs=1)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=50), st.floats(0.5, 100))
def test_no_interval_holds_more_frames_than_the_limit_allows(gaps_s, limit_hz):
    limit = RateLimit()
    now_s, passed_s = 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if limit.admits(now_s, limit_hz):
            passed_s.append(now_s)
    for first in range(len(passed_s)):
        for last in range(first, len(passed_s)):
            # One at the interval's start and, since a late frame does not shift the schedule, one more.
            assert last - first <= (passed_s[last] - passed_s[first]) * limit_hz + 1 + 1e-6


def test_a_raised_limit_takes_effect_at_once():
    limit = RateLimit()
    assert limit.admits(0, 0.1)
    assert not limit.admits(1, 0.1)
    assert not limit.admits(2, 100)
    assert limit.admits(2.011, 100)
