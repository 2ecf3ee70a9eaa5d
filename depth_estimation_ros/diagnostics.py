"""From counts and facts to the diagnostic that an operator reads: a level, one sentence, and the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from depth_estimation_ros.health import WINDOW_S, HealthReport

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticArray

Level = Literal["OK", "WARN", "ERROR"]

SILENCE_S = 2.0
"""An active node that has had no image for this long says so."""


@dataclass(frozen=True)
class NodeState:
    """What the node knows of itself.

    Attributes:
        lifecycle: unconfigured, inactive, active or finalized; or the transition that is under way.
        active_for_s: Seconds since activation; None where the node is not active.
        failure: One sentence: why the last transition failed; None if it did not.
        facts: More to show, by name.
    """

    lifecycle: str
    active_for_s: float | None
    failure: str | None
    facts: Mapping[str, str]


@dataclass(frozen=True)
class CameraState:
    """What the node knows of one camera.

    Attributes:
        name: As in the parameter `cameras`; "" for the only camera of a node without that list.
        report: Its counts.
        image_topic: As resolved.
        in_flight: Frames waiting and in work.
        facts: More to show, by name.
    """

    name: str
    report: HealthReport
    image_topic: str
    in_flight: int
    facts: Mapping[str, str]


def judge(node: NodeState, camera: CameraState) -> tuple[Level, str]:
    """Choose the level and the sentence that says why: ERROR where nothing can be produced, WARN where it is doubtful.

    Dropped frames are no fault while others come out: a slow computer that always shows the newest frame does what it
    should.
    """
    report = camera.report
    if node.failure is not None:
        return "ERROR", node.failure
    if node.active_for_s is None:
        return "OK", node.lifecycle
    if (silence_s := _silence_s(node, camera)) > SILENCE_S:
        return "WARN", f"no image on {camera.image_topic} for {silence_s:.0f} s: is the camera running?"
    if report.rejected_lately:
        share = "every frame" if not report.published_lately else f"{report.rejected_lately} frames"
        return ("WARN" if report.published_lately else "ERROR"), f"{share} rejected lately: {report.last_error}"
    if report.remarks:
        return "WARN", "; ".join(report.remarks)
    if report.rate_in_hz and not report.published_lately and report.unwatched_lately:
        return "OK", "idle: nobody subscribes to an output"
    if min(node.active_for_s, report.unanswered_s) > WINDOW_S and report.dropped_lately:
        return "WARN", (
            f"{report.dropped_lately} images were dropped and no depth came out in {WINDOW_S:g} s: the computer is too "
            "slow; lower max_network_pixels, or choose another device"
        )
    return "OK", f"{report.rate_out_hz:.1f} frames per second"


def judge_all(node: NodeState, cameras: Sequence[CameraState]) -> tuple[Level, str]:
    """Judge a node by its several cameras: WARN with the name of each that is not well, ERROR where none lives."""
    if node.failure is not None:
        return "ERROR", node.failure
    if node.active_for_s is None:
        return "OK", node.lifecycle
    verdicts = {camera.name: judge(node, camera) for camera in cameras}
    complaints = [f"{name}: {sentence}" for name, (level, sentence) in verdicts.items() if level != "OK"]
    if complaints:
        lives = [verdicts[camera.name][0] != "ERROR" and _silence_s(node, camera) <= SILENCE_S for camera in cameras]
        return ("WARN" if any(lives) else "ERROR"), "; ".join(complaints)
    rate_hz = sum(camera.report.rate_out_hz for camera in cameras)
    return "OK", f"{rate_hz:.1f} frames per second from {len(cameras)} cameras"


def _silence_s(node: NodeState, camera: CameraState) -> float:
    active_for_s, silence_s = node.active_for_s or 0.0, camera.report.silence_s
    return active_for_s if silence_s is None else min(silence_s, active_for_s)


def to_diagnostic_array(name: str, node: NodeState, cameras: Sequence[CameraState], stamp: Any) -> DiagnosticArray:
    """Build the message: one status where the node has one camera without a name, else the node's and one per camera.

    Args:
        name: Of the node, with its namespace.
        node: What is not one camera's.
        cameras: At least one.
        stamp: builtin_interfaces/Time of the node's clock.
    """
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    def status(what: str, verdict: tuple[Level, str], hardware: str, numbers: Mapping[str, str]) -> DiagnosticStatus:
        level, message = verdict
        return DiagnosticStatus(
            level=getattr(DiagnosticStatus, level),
            name=f"{name}: {what}",
            message=message,
            hardware_id=hardware,
            values=[KeyValue(key=key, value=value) for key, value in numbers.items()],
        )

    own = {"state": node.lifecycle, **node.facts}
    if [camera.name for camera in cameras] == [""]:
        (camera,) = cameras
        numbers = {**own, **_numbers(camera)}
        statuses = [status("camera to depth", judge(node, camera), camera.image_topic, numbers)]
    else:
        topics = ", ".join(camera.image_topic for camera in cameras)
        statuses = [status("cameras to depth", judge_all(node, cameras), topics, own)]
        for camera in cameras:
            numbers = {"state": node.lifecycle, **_numbers(camera)}
            statuses.append(status(f"camera {camera.name} to depth", judge(node, camera), camera.image_topic, numbers))
    array = DiagnosticArray(status=statuses)
    array.header.stamp = stamp
    return array


def _numbers(camera: CameraState) -> dict[str, str]:
    report = camera.report
    numbers = {
        "image topic": camera.image_topic,
        "rate in (Hz)": f"{report.rate_in_hz:.2f}",
        "rate out (Hz)": f"{report.rate_out_hz:.2f}",
        "received": str(report.received),
        "published": str(report.published),
        "dropped (newer frame came)": str(report.dropped),
        "limited (max_rate)": str(report.limited),
        "unwatched (no subscriber)": str(report.unwatched),
        "rejected": str(sum(report.rejected.values())),
        **{f"rejected: {reason}": str(count) for reason, count in sorted(report.rejected.items())},
        "in flight": str(camera.in_flight),
        "stamp to publish p50 (ms)": _milliseconds(report.latency_p50_ms),
        "stamp to publish p99 (ms)": _milliseconds(report.latency_p99_ms),
        **camera.facts,
        "last error": report.last_error or "none",
    }
    if report.last_error_age_s is not None:
        numbers["last error age (s)"] = f"{report.last_error_age_s:.1f}"
    return numbers


def _milliseconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"
