"""From counts and facts to the diagnostic that an operator reads: a level, one sentence, and the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from depth_estimation_ros.health import HealthReport

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticArray

Level = Literal["OK", "WARN", "ERROR"]

SILENCE_S = 2.0
"""An active node that has had no image for this long says so."""


@dataclass(frozen=True)
class NodeState:
    """What the node knows besides its counts.

    Attributes:
        lifecycle: unconfigured, inactive, active or finalized; or the transition that is under way.
        active_for_s: Seconds since activation; None where the node is not active.
        failure: One sentence: why the last transition failed; None if it did not.
        image_topic: As resolved.
        in_flight: Frames waiting and in work.
        facts: More to show, by name.
    """

    lifecycle: str
    active_for_s: float | None
    failure: str | None
    image_topic: str
    in_flight: int
    facts: Mapping[str, str]


def judge(report: HealthReport, state: NodeState) -> tuple[Level, str]:
    """Choose the level and the sentence that says why: ERROR where nothing can be produced, WARN where it is doubtful.

    Dropped frames are no fault: a slow computer that always shows the newest frame does what it should.
    """
    if state.failure is not None:
        return "ERROR", state.failure
    if state.active_for_s is None:
        return "OK", state.lifecycle
    silence_s = state.active_for_s if report.silence_s is None else min(report.silence_s, state.active_for_s)
    if silence_s > SILENCE_S:
        return "WARN", f"no image on {state.image_topic} for {silence_s:.0f} s: is the camera running?"
    if report.rejected_lately:
        share = "every frame" if not report.published_lately else f"{report.rejected_lately} frames"
        return ("WARN" if report.published_lately else "ERROR"), f"{share} rejected lately: {report.last_error}"
    if report.remarks:
        return "WARN", "; ".join(report.remarks)
    if report.rate_in_hz and not report.published_lately and report.unwatched:
        return "OK", "idle: nobody subscribes to an output"
    return "OK", f"{report.rate_out_hz:.1f} frames per second"


def to_diagnostic_array(name: str, report: HealthReport, state: NodeState, stamp: Any) -> DiagnosticArray:
    """Build the message with one status.

    Args:
        name: Of the node, with its namespace.
        report: The counts.
        state: The rest.
        stamp: builtin_interfaces/Time of the node's clock.
    """
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    level, message = judge(report, state)
    numbers = {
        "state": state.lifecycle,
        "image topic": state.image_topic,
        "rate in (Hz)": f"{report.rate_in_hz:.2f}",
        "rate out (Hz)": f"{report.rate_out_hz:.2f}",
        "received": str(report.received),
        "published": str(report.published),
        "dropped (newer frame came)": str(report.dropped),
        "limited (max_rate)": str(report.limited),
        "unwatched (no subscriber)": str(report.unwatched),
        "rejected": str(sum(report.rejected.values())),
        **{f"rejected: {reason}": str(count) for reason, count in sorted(report.rejected.items())},
        "in flight": str(state.in_flight),
        "stamp to publish p50 (ms)": _milliseconds(report.latency_p50_ms),
        "stamp to publish p99 (ms)": _milliseconds(report.latency_p99_ms),
        **state.facts,
        "last error": report.last_error or "none",
    }
    if report.last_error_age_s is not None:
        numbers["last error age (s)"] = f"{report.last_error_age_s:.1f}"
    status = DiagnosticStatus(
        level=getattr(DiagnosticStatus, level),
        name=f"{name}: camera to depth",
        message=message,
        hardware_id=state.image_topic,
        values=[KeyValue(key=key, value=value) for key, value in numbers.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def _milliseconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"
