"""Newest frame only, each frame once, and a count that adds up."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_estimation_ros.frame_worker import FrameWorker

PATIENCE_S = 10


class Bench:
    """Work that lasts until the test says so."""

    def __init__(self):
        self.done: list = []
        self.errors: list[Exception] = []
        self.taken = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.worker = FrameWorker(self.process, self.errors.append)

    def process(self, frame):
        self.taken.release()
        assert self.go_on.acquire(timeout=PATIENCE_S)
        if isinstance(frame, Exception):
            raise frame
        self.done.append(frame)

    def wait_until_taken(self):
        assert self.taken.acquire(timeout=PATIENCE_S)

    def finish(self):
        for _ in range(100):
            self.go_on.release()
        self.worker.stop(PATIENCE_S)


@pytest.fixture
def bench():
    bench = Bench()
    bench.worker.start()
    yield bench
    bench.finish()


def test_the_newest_waiting_frame_is_next_and_the_replaced_ones_are_lost(bench):
    assert bench.worker.submit(0) is False
    bench.wait_until_taken()
    assert [bench.worker.submit(frame) for frame in (1, 2, 3)] == [False, True, True]
    assert bench.worker.in_flight == 2
    bench.go_on.release()
    bench.wait_until_taken()
    assert bench.worker.in_flight == 1
    bench.go_on.release()
    bench.worker.stop(PATIENCE_S)
    assert bench.done == [0, 3]
    assert bench.worker.in_flight == 0


def test_an_error_is_told_and_the_next_frame_is_taken(bench):
    broken = ValueError("broken frame")
    bench.worker.submit(broken)
    bench.wait_until_taken()
    bench.worker.submit("good")
    bench.go_on.release()
    bench.wait_until_taken()
    bench.go_on.release()
    bench.worker.stop(PATIENCE_S)
    assert bench.errors == [broken]
    assert bench.done == ["good"]


def test_stopping_finishes_the_frame_in_work_and_loses_the_waiting_one(bench):
    bench.worker.submit("in work")
    bench.wait_until_taken()
    bench.worker.submit("waiting")
    bench.go_on.release()
    # The worker may have finished "in work" already and taken "waiting"; what matters is that it is one or the other.
    bench.go_on.release()
    loses = bench.worker.stop(PATIENCE_S)
    assert bench.done == (["in work"] if loses else ["in work", "waiting"])
    assert bench.worker.in_flight == 0


def test_a_stopped_worker_loses_what_it_is_given_and_can_start_again(bench):
    bench.worker.stop(PATIENCE_S)
    assert bench.worker.submit("too late") is True
    bench.worker.start()
    assert bench.worker.submit("in time") is False
    bench.wait_until_taken()
    bench.go_on.release()
    bench.worker.stop(PATIENCE_S)
    assert bench.done == ["in time"]


def test_stop_before_start_and_twice_is_harmless():
    worker = FrameWorker(lambda frame: None, lambda error: None)
    assert worker.stop() is False
    assert worker.stop() is False


def test_it_does_not_start_twice(bench):
    with pytest.raises(RuntimeError, match="still running"):
        bench.worker.start()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.booleans(), max_size=60))
def test_every_frame_is_processed_or_lost_and_never_out_of_order(pauses):
    done: list[int] = []
    handled = threading.Event()

    def process(frame: int) -> None:
        done.append(frame)
        handled.set()

    worker = FrameWorker(process, lambda error: None)
    worker.start()
    lost = 0
    for frame, pause in enumerate(pauses):
        handled.clear()
        lost += worker.submit(frame)
        if pause:
            assert handled.wait(PATIENCE_S)
    lost += worker.stop(PATIENCE_S)
    assert len(done) + lost == len(pauses)
    assert done == sorted(set(done))


class Gate:
    """A turn that comes when the test says so."""

    def __init__(self):
        self.asked_with: queue.Queue = queue.Queue()
        self.opened = threading.Semaphore(0)
        self.is_entered = False

    @contextmanager
    def __call__(self, frame):
        self.asked_with.put(frame)
        assert self.opened.acquire(timeout=PATIENCE_S)
        self.is_entered = True
        yield
        self.is_entered = False


def test_the_frame_that_is_newest_when_the_turn_comes_is_worked_on():
    gate, done = Gate(), queue.Queue()
    worker = FrameWorker(done.put, lambda error: None, gate)
    worker.start()
    worker.submit(1)
    assert gate.asked_with.get(timeout=PATIENCE_S) == 1
    assert [worker.submit(frame) for frame in (2, 3)] == [True, True]
    assert worker.in_flight == 1
    gate.opened.release()
    assert done.get(timeout=PATIENCE_S) == 3
    worker.stop(PATIENCE_S)
    assert done.empty()


def test_a_worker_stopped_while_it_waits_for_its_turn_takes_none():
    gate, done = Gate(), queue.Queue()
    worker = FrameWorker(done.put, lambda error: None, gate)
    worker.start()
    worker.submit(1)
    gate.asked_with.get(timeout=PATIENCE_S)
    threading.Timer(0.05, gate.opened.release).start()
    assert worker.stop(PATIENCE_S) is True
    assert done.empty()
    assert worker.in_flight == 0


def test_the_rest_of_a_frame_is_done_after_its_turn_and_its_errors_are_told():
    gate, told = Gate(), queue.Queue()

    def process(frame):
        told.put(("in turn", gate.is_entered))

        def rest():
            told.put(("in turn", gate.is_entered))
            raise ValueError(frame)

        return rest

    worker = FrameWorker(process, lambda error: told.put(str(error)), gate)
    worker.start()
    gate.opened.release()
    worker.submit("frame 1")
    assert [told.get(timeout=PATIENCE_S) for _ in range(3)] == [("in turn", True), ("in turn", False), "frame 1"]
    worker.stop(PATIENCE_S)
