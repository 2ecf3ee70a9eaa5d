"""A pace that can change, and an end that is final."""

from __future__ import annotations

import threading
import time

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


def test_the_same_pace_given_again_and_again_does_not_hold_it_up():
    called = threading.Event()
    periodic = PeriodicThread(called.set, 0.2)
    end_s = time.monotonic() + PATIENCE_S
    while not called.wait(0.02) and time.monotonic() < end_s:
        periodic.set_period(0.2)
    assert called.is_set()
    periodic.stop()


def test_it_stops_while_it_waits_and_twice():
    periodic = PeriodicThread(lambda: None, 3600)
    periodic.stop()
    periodic.stop()
