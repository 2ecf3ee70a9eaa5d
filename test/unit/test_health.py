"""Counts, rates, quantiles and windows against values worked out by hand."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.health import LATENCY_WINDOW, WINDOW_S, Health


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock)


def test_nothing_has_happened_yet(health):
    report = health.report()
    assert (report.received, report.published, report.dropped, report.limited, report.unwatched) == (0, 0, 0, 0, 0)
    assert report.rejected == {}
    assert (report.rate_in_hz, report.rate_out_hz) == (0, 0)
    assert (report.latency_p50_ms, report.latency_p99_ms, report.silence_s, report.last_error) == (None,) * 4


def test_totals_are_exact_and_outlive_the_window(health, clock):
    for _ in range(7):
        health.count_received()
    health.count_published(0.1)
    health.count_dropped()
    health.count_dropped()
    health.count_limited()
    health.count_unwatched()
    health.count_rejected("image", "first")
    health.count_rejected("inference", "second")
    clock.now_s += 10 * WINDOW_S
    report = health.report()
    assert (report.received, report.published, report.dropped, report.limited, report.unwatched) == (7, 1, 2, 1, 1)
    assert report.rejected == {"image": 1, "inference": 1}
    assert (report.published_lately, report.rejected_lately, report.rate_in_hz) == (0, 0, 0)
    assert report.last_error == "second"
    assert report.last_error_age_s == pytest.approx(10 * WINDOW_S)
    assert report.silence_s == pytest.approx(10 * WINDOW_S)


def test_rates_are_those_of_the_window_and_fall_when_frames_cease(health, clock):
    for frame in range(200):
        clock.now_s += 0.05
        health.count_received()
        if frame % 2:
            health.count_published(None)
    report = health.report()
    assert report.rate_in_hz == pytest.approx(20, rel=0.01)
    assert report.rate_out_hz == pytest.approx(10, rel=0.02)
    clock.now_s += 2.0
    assert health.report().rate_in_hz == pytest.approx(12, rel=0.05)
    clock.now_s += WINDOW_S
    assert health.report().rate_in_hz == 0


@given(st.lists(st.floats(0, 100), min_size=2, max_size=300))
def test_latency_quantiles_agree_with_the_standard_library(latencies_s):
    health = Health()
    for latency_s in latencies_s:
        health.count_published(latency_s)
    report = health.report()
    percentiles = statistics.quantiles(latencies_s, n=100, method="inclusive")
    assert report.latency_p50_ms == pytest.approx(percentiles[49] * 1000)
    assert report.latency_p99_ms == pytest.approx(percentiles[98] * 1000)


def test_old_latencies_leave_the_window(health):
    health.count_published(100.0)
    for _ in range(LATENCY_WINDOW):
        health.count_published(0.02)
    health.count_published(None)
    assert health.report().latency_p99_ms == pytest.approx(20)


def test_latencies_by_a_clock_that_has_jumped_are_forgotten(health):
    health.count_published(4000.0)
    health.forget_latencies()
    assert health.report().latency_p50_ms is None
    health.count_published(0.02)
    assert health.report().latency_p99_ms == pytest.approx(20)
    assert health.report().published == 2


def test_a_remark_is_news_once_until_it_has_been_away(health, clock):
    assert health.remark("the stamp is zero")
    assert not health.remark("the stamp is zero")
    assert health.remark("no calibration")
    assert health.report().remarks == ("the stamp is zero", "no calibration")
    clock.now_s += WINDOW_S + 1
    assert health.report().remarks == ()
    assert health.remark("the stamp is zero")
