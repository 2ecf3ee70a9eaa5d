"""What happened to the frames: exact counts, rates, latency, and what is wrong right now."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

WINDOW_S = 5.0
"""What happened longer ago counts towards the totals only."""

LATENCY_WINDOW = 500
"""Latency quantiles are taken over this many published frames."""


@dataclass(frozen=True)
class HealthReport:
    """The state of a `Health` at one moment.

    Every frame received is counted in exactly one of published, dropped (a newer frame took its place), limited
    (beyond max_rate), unwatched (nobody subscribed to any output) and rejected (by reason), once it is no longer in
    flight.

    Attributes:
        rate_in_hz, rate_out_hz: Frames received and published per second within the window.
        latency_p50_ms, latency_p99_ms: From the image's stamp to its outputs' publication; None before the first.
        silence_s: Seconds since the last frame was received; None before the first.
        unanswered_s: For so long frames have come, without a pause, of which none was published, unwatched or rejected.
        published_lately, dropped_lately, unwatched_lately, rejected_lately: Frames within the window.
        remarks: One sentence each: what is doubtful about the frames within the window.
        last_error: The last rejection's sentence; None where there was none.
        last_error_age_s: Seconds since then.
    """

    received: int
    published: int
    dropped: int
    limited: int
    unwatched: int
    rejected: Mapping[str, int]
    rate_in_hz: float
    rate_out_hz: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    silence_s: float | None
    unanswered_s: float
    published_lately: int
    dropped_lately: int
    unwatched_lately: int
    rejected_lately: int
    remarks: tuple[str, ...]
    last_error: str | None
    last_error_age_s: float | None


class _Recent:
    """When something happened within the window."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()

    def add(self, now_s: float) -> None:
        self._times_s.append(now_s)
        self.count(now_s)

    def count(self, now_s: float) -> int:
        while self._times_s and now_s - self._times_s[0] > WINDOW_S:
            self._times_s.popleft()
        return len(self._times_s)

    def rate_hz(self, now_s: float) -> float:
        """Intervals per second since the first, so that a rate falls from the moment at which events cease."""
        if self.count(now_s) < 2 or now_s <= self._times_s[0]:
            return 0.0
        return (len(self._times_s) - 1) / (now_s - self._times_s[0])


class Health:
    """Counts frames from several threads. Times are those of a clock that never goes back."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic):
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._recent = {kind: _Recent() for kind in ("received", "published", "dropped", "unwatched", "rejected")}
        self._latencies_s: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._remarks_s: dict[str, float] = {}
        self._received_s: float | None = None
        self._unanswered_since_s: float | None = None
        self._last_error: tuple[str, float] | None = None

    def count_received(self) -> None:
        """An image message has arrived."""
        with self._lock:
            self._totals["received"] += 1
            now_s = self._clock_s()
            paused = self._received_s is None or now_s - self._received_s > WINDOW_S
            if paused or self._unanswered_since_s is None:
                self._unanswered_since_s = now_s
            self._received_s = now_s
            self._recent["received"].add(self._received_s)

    def count_dropped(self) -> None:
        """A newer frame has taken its place, or the node stopped working before its turn."""
        self._count("dropped")

    def count_limited(self) -> None:
        """It came sooner than max_rate allows."""
        self._count("limited")

    def count_unwatched(self) -> None:
        """Nobody subscribed to any output."""
        self._count("unwatched")
        with self._lock:
            self._unanswered_since_s = None

    def count_rejected(self, reason: str, sentence: str) -> None:
        """It could not be turned into outputs: `reason` is one word for the count, `sentence` says it all."""
        with self._lock:
            self._rejected[reason] += 1
            self._last_error = (sentence, self._clock_s())
            self._recent["rejected"].add(self._clock_s())
            self._unanswered_since_s = None

    def count_published(self, latency_s: float | None) -> None:
        """Outputs are out, so many seconds after the image's stamp; None where the stamp does not tell."""
        with self._lock:
            self._totals["published"] += 1
            self._recent["published"].add(self._clock_s())
            self._unanswered_since_s = None
            if latency_s is not None:
                self._latencies_s.append(latency_s)

    def forget_latencies(self) -> None:
        """The clock that they were taken by has jumped."""
        with self._lock:
            self._latencies_s.clear()

    def remark(self, sentence: str) -> bool:
        """Note something doubtful about the present frame; True where it is news within the window."""
        with self._lock:
            now_s = self._clock_s()
            is_news = sentence not in self._current_remarks(now_s)
            self._remarks_s[sentence] = now_s
            return is_news

    def report(self) -> HealthReport:
        """Sum up."""
        with self._lock:
            now_s = self._clock_s()
            p50_ms, p99_ms = self._latency_quantiles_ms()
            error, error_s = self._last_error or (None, now_s)
            return HealthReport(
                received=self._totals["received"],
                published=self._totals["published"],
                dropped=self._totals["dropped"],
                limited=self._totals["limited"],
                unwatched=self._totals["unwatched"],
                rejected=dict(self._rejected),
                rate_in_hz=self._recent["received"].rate_hz(now_s),
                rate_out_hz=self._recent["published"].rate_hz(now_s),
                latency_p50_ms=p50_ms,
                latency_p99_ms=p99_ms,
                silence_s=None if self._received_s is None else now_s - self._received_s,
                unanswered_s=0.0 if self._unanswered_since_s is None else now_s - self._unanswered_since_s,
                published_lately=self._recent["published"].count(now_s),
                dropped_lately=self._recent["dropped"].count(now_s),
                unwatched_lately=self._recent["unwatched"].count(now_s),
                rejected_lately=self._recent["rejected"].count(now_s),
                remarks=self._current_remarks(now_s),
                last_error=error,
                last_error_age_s=None if error is None else now_s - error_s,
            )

    def _count(self, kind: str) -> None:
        with self._lock:
            self._totals[kind] += 1
            if kind in self._recent:
                self._recent[kind].add(self._clock_s())

    def _current_remarks(self, now_s: float) -> tuple[str, ...]:
        self._remarks_s = {sentence: at_s for sentence, at_s in self._remarks_s.items() if now_s - at_s <= WINDOW_S}
        return tuple(self._remarks_s)

    def _latency_quantiles_ms(self) -> tuple[float | None, float | None]:
        if not self._latencies_s:
            return None, None
        p50_s, p99_s = np.quantile(self._latencies_s, [0.5, 0.99])
        return float(p50_s) * 1000, float(p99_s) * 1000
