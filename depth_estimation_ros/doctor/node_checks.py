"""The depth node: what it says of itself, and whether its subscribers can hear it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depth_estimation_ros.doctor.findings import Finding, Level

SLOW_MS = 500.0
"""A robot at 1 m/s has moved half a metre by the time such depth is out."""

GREATEST_DROPPED_SHARE = 0.75

AGE_ON_ARRIVAL = "image age on arrival (s)"  # the key by which the node's status has it


@dataclass(frozen=True)
class NodeFacts:
    """One status of a depth node on /diagnostics.

    Attributes:
        name: Of the node, with its namespace.
        level: OK, WARN or ERROR.
        message: The node's own sentence.
        values: The latest numbers by their names.
        earlier: The same from the first status heard: the difference is what happened meanwhile.
        camera: Which of its several cameras the status is of; "" where it has one.
    """

    name: str
    level: Level
    message: str
    values: Mapping[str, str]
    earlier: Mapping[str, str]
    camera: str = ""

    @property
    def who(self) -> str:
        """The node, and which of its cameras."""
        return f"{self.name} ({self.camera})" if self.camera else self.name


@dataclass(frozen=True)
class SubscriberFacts:
    """Somebody who listens to an output: the node, and why the two QoS cannot meet; empty where they can."""

    node: str
    incompatibility: str = ""


@dataclass(frozen=True)
class OutputFacts:
    """One output topic and who listens to it."""

    topic: str
    subscribers: tuple[SubscriberFacts, ...]


def check_presence(names: list[str]) -> list[Finding]:
    """At least one depth node speaks."""
    if names:
        return [Finding("OK", f"depth node {name} speaks on /diagnostics") for name in names]
    return [
        Finding(
            "ERROR",
            "no depth node speaks on /diagnostics",
            "start it: `ros2 launch depth_estimation_ros depth.launch.py image:=…`; if it runs, give this shell the "
            "same ROS_DOMAIN_ID and RMW_IMPLEMENTATION",
        )
    ]


def check_state(facts: NodeFacts) -> list[Finding]:
    """The node is active and content."""
    lifecycle = facts.values.get("state", "unknown")
    if facts.level == "ERROR":
        return [Finding("ERROR", f"{facts.who} says: {facts.message}", "do as it says, then start it again")]
    if lifecycle != "active":
        return [
            Finding(
                "ERROR",
                f"{facts.name} is {lifecycle}, so it does nothing",
                f"`ros2 lifecycle set {facts.name} {'activate' if lifecycle == 'inactive' else 'configure'}`, or let "
                "autostart or a lifecycle manager do it",
            )
        ]
    if facts.level == "WARN":
        return [Finding("WARN", f"{facts.who} says: {facts.message}", "see the findings about the camera")]
    return [Finding("OK", f"{facts.who} is active: {facts.message}")]


def check_flow(facts: NodeFacts, images_came: bool, output_count: int, seconds: float) -> list[Finding]:
    """What comes in comes out as depth, while somebody listens.

    Args:
        facts: The node's.
        images_came: Whether the camera was heard meanwhile.
        output_count: Depth images whose CameraInfo was heard.
        seconds: For how long.
    """
    if facts.values.get("state") != "active" or not images_came:
        return []
    if not output_count:
        error = facts.values.get("last error", "none")
        return [
            Finding(
                "ERROR",
                f"images go into {facts.who}, and no depth came out of it in {seconds:g} s; its last error: {error}",
                "correct what the last error names; without one, look at the node's log",
            )
        ]
    return [Finding("OK", f"{output_count / seconds:.1f} depth images per second come out of {facts.who}")]


def check_pace(facts: NodeFacts) -> list[Finding]:
    """Depth comes out soon after the picture, and most pictures become depth."""
    findings = []
    of = f" of {facts.camera}" if facts.camera else ""
    faster = "give a smaller max_network_pixels, a CUDA device, or more of the CPU (num_threads, other programs)"
    latency = facts.values.get("stamp to publish p99 (ms)", "unknown")
    if float(facts.values.get(AGE_ON_ARRIVAL, "0")) > SLOW_MS / 1000:  # not the node's doing; it is said of the camera
        latency = "unknown"
    if latency != "unknown" and float(latency) > SLOW_MS:
        findings.append(
            Finding("WARN", f"depth{of} is up to {float(latency):.0f} ms old when it is published (p99)", faster)
        )
    received, dropped = _meanwhile(facts, "received"), _meanwhile(facts, "dropped (newer frame came)")
    if received and dropped / received > GREATEST_DROPPED_SHARE:
        findings.append(
            Finding(
                "WARN", f"{dropped} of {received} frames{of} were dropped for newer ones: the computer is slow", faster
            )
        )
    if findings or latency == "unknown":
        return findings
    p50 = facts.values.get("stamp to publish p50 (ms)", "unknown")
    return [
        Finding("OK", f"depth{of} is {p50} ms old when published, p99 {latency} ms; {dropped} of {received} dropped")
    ]


def _meanwhile(facts: NodeFacts, key: str) -> int:
    return int(facts.values.get(key, "0")) - int(facts.earlier.get(key, "0"))


def check_outputs(outputs: list[OutputFacts]) -> list[Finding]:
    """Every subscriber of an output can hear it."""
    findings = [
        Finding(
            "ERROR",
            f"{subscriber.node} subscribes to {output.topic} and cannot hear it: {subscriber.incompatibility}",
            "set the subscriber's QoS to durability volatile, reliability best effort: what the node offers is enough",
        )
        for output in outputs
        for subscriber in output.subscribers
        if subscriber.incompatibility
    ]
    if findings or not outputs:
        return findings
    heard = [
        f"{output.topic} by {', '.join(sorted(subscriber.node for subscriber in output.subscribers))}"
        for output in outputs
        if output.subscribers
    ]
    return [Finding("OK", f"heard: {'; '.join(heard)}" if heard else "nobody else subscribes to the outputs")]
