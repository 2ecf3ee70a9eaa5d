"""Whether the stamps of a camera's images fit the node's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

GREATEST_AGE_S = 1.0
"""An image that is older than this when it arrives is late, or its stamp is wrong."""

PATIENCE_S = 2.0
"""Stamps have to be old for so long: where a recording starts over, its clock may be heard after its first images."""


class StampWatch:
    """Judges one camera's images as they arrive."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic):
        self._clock_s = clock_s
        self._old_since_s: float | None = None
        self.age_s: float | None = None  #: of the last image; None where its stamp or the node's clock is zero

    def note(self, stamp_ns: int, now_ns: int) -> None:
        """Take in an image's stamp and the node's time at its arrival, both in nanoseconds."""
        self.age_s = (now_ns - stamp_ns) / 1e9 if stamp_ns and now_ns else None
        if self.age_s is None or self.age_s <= GREATEST_AGE_S:
            self._old_since_s = None
        elif self._old_since_s is None:
            self._old_since_s = self._clock_s()

    def forget(self) -> None:
        """The node's clock has jumped."""
        self._old_since_s = None

    @property
    def remark(self) -> str | None:
        """One sentence where all images of the last `PATIENCE_S` were old; the same for any age, which is a fact."""
        if self._old_since_s is None or self._clock_s() - self._old_since_s < PATIENCE_S:
            return None
        return (
            f"images are more than {GREATEST_AGE_S:g} s old when they arrive, by their stamps and this node's clock: "
            "synchronise the machines' clocks (chrony), correct the driver's stamps, or find what holds images up; for "
            "a recording set use_sim_time and play it with --clock"
        )
