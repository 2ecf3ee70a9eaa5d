"""A ceiling on how many frames per second are worked on."""

from __future__ import annotations


class RateLimit:
    """Admits frames so that on average no more than a given rate passes.

    The next frame is due one period after the last one was *due*, not after it came: otherwise a 30 Hz camera limited
    to 20 Hz would pass every second frame only, because each admitted frame came a little after it was due.
    """

    def __init__(self) -> None:
        self._due_s = float("-inf")

    def admits(self, now_s: float, max_rate_hz: float) -> bool:
        """Say whether a frame that comes now may pass.

        Args:
            now_s: Seconds of a clock that never goes back.
            max_rate_hz: Frames per second, 0 for no limit; it may change from call to call.
        """
        if max_rate_hz == 0:
            return True
        period_s = 1 / max_rate_hz
        self._due_s = min(self._due_s, now_s + period_s)
        if now_s < self._due_s:
            return False
        late_by_s = now_s - self._due_s
        self._due_s = (self._due_s if late_by_s < period_s else now_s) + period_s
        return True
