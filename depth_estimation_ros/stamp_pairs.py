"""Two streams of messages, paired by their stamps whichever comes first."""

from __future__ import annotations

from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class StampPairs(Generic[A, B]):
    """Pairs each of the first stream with the nearest of the second, no further than the tolerance.

    A pair is given out at once where the stamps are equal, else as soon as something later than the first's stamp has
    come on the second stream, so that no nearer one can come. What is farther than `kept_ns` from the one that
    came last on its stream is forgotten: one stream may lag that much behind the other, and a recording may begin anew.
    """

    def __init__(self, tolerance_ns: int, kept_ns: int = 3_000_000_000):
        self._tolerance_ns = tolerance_ns
        self._kept_ns = kept_ns
        self._waiting: list[tuple[int, A]] = []
        self._others: list[tuple[int, B]] = []
        self.seen = [0, 0]

    def put_first(self, stamp_ns: int, item: A) -> list[tuple[A, B]]:
        """Take one of the first stream; returns the pairs that are complete now."""
        self.seen[0] += 1
        self._waiting = [*self._near(self._waiting, stamp_ns), (stamp_ns, item)]
        return self._complete()

    def put_second(self, stamp_ns: int, item: B) -> list[tuple[A, B]]:
        """Take one of the second stream; returns the pairs that are complete now."""
        self.seen[1] += 1
        self._others = [*self._near(self._others, stamp_ns), (stamp_ns, item)]
        return self._complete()

    def _near(self, kept: list[tuple[int, C]], stamp_ns: int) -> list[tuple[int, C]]:
        return [entry for entry in kept if abs(entry[0] - stamp_ns) <= self._kept_ns]

    def _complete(self) -> list[tuple[A, B]]:
        if not self._others:
            return []
        pairs = []
        latest_ns = max(stamp_ns for stamp_ns, _ in self._others)
        for entry in list(self._waiting):
            stamp_ns, item = entry
            if stamp_ns > latest_ns:
                continue
            other_ns, other = min(self._others, key=lambda candidate: abs(candidate[0] - stamp_ns))
            self._waiting.remove(entry)
            if abs(other_ns - stamp_ns) <= self._tolerance_ns:
                pairs.append((item, other))
        return pairs
