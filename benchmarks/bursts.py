"""How networks are timed against each other: bursts of each, in turn, within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from rich.progress import track

UNTIMED, TIMED = 3, 7  # calls in a burst


def time_in_turn(runs: Sequence[Callable[[], object]], rounds: int) -> np.ndarray:
    """Milliseconds (rounds, runs, TIMED): in each round a burst of every run, as a robot runs one network alone.

    The first calls of a burst are untimed: they find the caches full of the network before, and its threads awake.
    """
    taken_ms = np.empty((rounds, len(runs), TIMED))
    for bursts_ms in track(taken_ms, "timing"):
        for run, burst_ms in zip(runs, bursts_ms, strict=True):
            for _ in range(UNTIMED):
                run()
            for call in range(TIMED):
                start_s = time.perf_counter()
                run()
                burst_ms[call] = (time.perf_counter() - start_s) * 1000
    return taken_ms
