"""Turns go round: whoever is fast or asks often does not get more of them."""

from __future__ import annotations

import queue
import threading

import pytest

from depth_estimation_ros.frame_worker import FrameWorker
from depth_estimation_ros.turns import Turns

PATIENCE_S = 10


def test_one_at_a_time_in_the_order_of_asking():
    turns, order = Turns(), queue.Queue()
    asked = [threading.Event() for _ in range(5)]

    def ask(number):
        with turns.take():
            order.put(number)

    threads = []
    with turns.take():
        for number, event in enumerate(asked):
            threads.append(threading.Thread(target=lambda n=number, e=event: (e.set(), ask(n))))
            threads[-1].start()
            event.wait(PATIENCE_S)
            while len(turns._queue) < number + 2:  # it has asked once it stands in the queue
                pass
        assert order.empty()
    assert [order.get(timeout=PATIENCE_S) for _ in asked] == [0, 1, 2, 3, 4]
    for thread in threads:
        thread.join(PATIENCE_S)


def test_an_error_ends_the_turn():
    turns = Turns()
    with pytest.raises(ValueError, match="in turn"), turns.take():
        raise ValueError("in turn")
    with turns.take():
        pass


def test_workers_that_always_have_a_frame_are_served_in_rotation():
    """Three cameras on a computer that is too slow for one."""
    turns, served, go_on = Turns(), queue.Queue(), threading.Semaphore(0)
    workers: dict[str, FrameWorker] = {}

    def work(name):
        def process(frame):
            # The next frame is there before this one is done, as where cameras are faster than the network.
            workers[name].submit(frame + 1)
            served.put((name, frame))
            assert go_on.acquire(timeout=PATIENCE_S)

        return process

    for name in ("front", "left", "right"):
        workers[name] = FrameWorker(work(name), lambda error: None, lambda frame: turns.take())
        workers[name].start()
    for name in ("front", "left", "right"):
        for frame in range(3):
            workers[name].submit(frame)
    first, _ = served.get(timeout=PATIENCE_S)
    while len(turns._queue) < 3:  # all have asked
        pass
    order = [first]
    for _ in range(29):
        go_on.release()
        # The one that has just been served asks again only once its turn is over: wait until it has.
        order.append(served.get(timeout=PATIENCE_S)[0])
        while len(turns._queue) < 3:
            pass
    for number in range(3, 30):
        assert order[number] == order[number - 3]
    assert len(set(order[:3])) == 3
    for _ in range(100):
        go_on.release()
    for worker in workers.values():
        worker.stop(PATIENCE_S)


def test_workers_that_are_halted_together_finish_one_frame_among_them():
    """A robot with several cameras stops within a frame, and not within one of each."""
    turns, worked = Turns(), []
    taken, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def process(frame):
        worked.append(frame)
        taken.release()
        assert go_on.acquire(timeout=PATIENCE_S)

    workers = [FrameWorker(process, lambda error: None, lambda frame: turns.take()) for _ in range(4)]
    for number, worker in enumerate(workers):
        worker.start()
        worker.submit(number)
    assert taken.acquire(timeout=PATIENCE_S)
    lost = sum(worker.halt() for worker in workers)
    for _ in workers:
        go_on.release()
    for worker in workers:
        worker.stop(PATIENCE_S)
    assert (len(worked), lost) == (1, 3)
    assert all(worker.in_flight == 0 for worker in workers)
