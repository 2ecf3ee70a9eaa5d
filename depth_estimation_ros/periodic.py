"""Something to be done again and again, whatever else the process is busy with."""

from __future__ import annotations

import threading
from collections.abc import Callable


class PeriodicThread:
    """Calls a function at a steady pace in a thread of its own, until it is stopped."""

    def __init__(self, action: Callable[[], None], period_s: float):
        self._action = action
        self._period_s = period_s
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._repeat, name="periodic", daemon=True)
        self._thread.start()

    def set_period(self, period_s: float) -> None:
        """Go on at another pace, from now on."""
        if period_s == self._period_s:  # waking would begin the wait anew, and again and again nothing would be done
            return
        self._period_s = period_s
        self._wake.set()

    def stop(self) -> None:
        """End it; a call in progress is waited for."""
        self._stopped = True
        self._wake.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._stopped:
            if not self._wake.wait(self._period_s):
                self._action()
            self._wake.clear()
