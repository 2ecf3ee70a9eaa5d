"""A pace that can change, and an end that is final."""

from __future__ import annotations

import threading

from depth_estimation_ros.periodic import PeriodicThread

PATIENCE_S = 10


def test_it_goes_on_until_it_is_stopped():
    calls = threading.Semaphore(0)
    periodic = PeriodicThread(calls.release, 0.001)
    for _ in range(3):
        assert calls.acquire(timeout=PATIENCE_S)
    periodic.stop()
    while calls.acquire(blocking=False):
        pass
    assert not calls.acquire(timeout=0.05)


def test_another_pace_takes_effect_at_once():
    called = threading.Event()
    periodic = PeriodicThread(called.set, 3600)
    periodic.set_period(0.001)
    assert called.wait(PATIENCE_S)
    periodic.stop()


def test_it_stops_while_it_waits_and_twice():
    periodic = PeriodicThread(lambda: None, 3600)
    periodic.stop()
    periodic.stop()
