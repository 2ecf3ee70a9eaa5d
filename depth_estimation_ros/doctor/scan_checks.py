"""The scan, where somebody wants one: it comes, from this node alone, in a frame that tf knows, with known beams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depth_estimation_ros.doctor.findings import Finding
from depth_estimation_ros.doctor.transform_checks import Edge, path_to_root

LEAST_KNOWN_SHARE = 0.1

MOUNT_IT = "set camera_height and camera_pitch, or scan.frame where tf knows the camera"


@dataclass(frozen=True)
class ScanFacts:
    """What was seen of one camera's scan.

    Attributes:
        topic: As resolved.
        subscribers: Nodes that listen to it, the doctor apart.
        other_publishers: Nodes that publish it, the depth node apart.
        mounting: The parameter by which the node knows where the camera stands; empty where it does not.
        scan_count: Scans that came while images did; None where images did not come.
        known_share: Of all their beams, the share that is a range or free.
        frame_id: Of the last one; empty where none came.
        camera_frame: frame_id of the images.
        edges: tf by child frame; None where its messages' package is not installed.
    """

    topic: str
    subscribers: tuple[str, ...] = ()
    other_publishers: tuple[str, ...] = ()
    mounting: str = ""
    scan_count: int | None = None
    known_share: float = 0.0
    frame_id: str = ""
    camera_frame: str = ""
    edges: Mapping[str, Edge] | None = None


def check_scan(facts: ScanFacts) -> list[Finding]:
    """Say nothing where nobody wants this node's scan: camera_height alone may be for floor_scale."""
    others = ", ".join(facts.other_publishers)
    if not facts.subscribers and facts.mounting != "scan.frame":
        return []
    if not facts.mounting and others:
        return []
    if others:
        sentence = f"{others} publishes {facts.topic}, so the depth node is silent on it"
        return [Finding("WARN", sentence, "remap `scan` (-r scan:=depth_scan) to have both")]
    if not facts.mounting:
        sentence = f"{', '.join(facts.subscribers)} listens to {facts.topic}, and the camera's place is unknown"
        return [Finding("ERROR", f"{sentence}: no scan comes", MOUNT_IT)]
    if facts.scan_count is None:
        return []
    if not facts.scan_count:
        remedy = (
            f"see what the depth node itself says; a calibrated camera is needed, and {facts.mounting} must be right"
        )
        return [Finding("ERROR", f"images come, and no scan comes on {facts.topic}", remedy)]
    findings = _check_frame(facts)
    if facts.known_share < LEAST_KNOWN_SHARE:
        unknown = f"{1 - facts.known_share:.0%} of the beams on {facts.topic} are unknown"
        sentence = f"{unknown} (NaN, or -Inf nearer than min_range)"
        remedy = (
            f"correct {facts.mounting}: by these the camera hardly sees between scan.min_height and scan.max_height"
        )
        findings.append(Finding("WARN", sentence, f"{remedy}; or lower min_confidence, or min_range"))
    sentence = f"{facts.topic} is in frame {facts.frame_id!r}, {facts.known_share:.0%} of its beams are known"
    return findings or [Finding("OK", sentence)]


def _check_frame(facts: ScanFacts) -> list[Finding]:
    if not facts.edges or facts.frame_id == facts.camera_frame:  # that there is no tf is said once, of the camera
        return []
    from_scan, from_camera = (path_to_root(facts.edges, frame) for frame in (facts.frame_id, facts.camera_frame))
    if from_scan[-1] == from_camera[-1]:
        return []
    return [
        Finding(
            "ERROR",
            f"tf does not lead from the scan's frame {facts.frame_id!r} to the camera's {facts.camera_frame!r}, so "
            "nobody can place the scan",
            f"publish it: `ros2 run tf2_ros static_transform_publisher --frame-id base_footprint --child-frame-id "
            f"{facts.frame_id}`, with --x and --y of the camera",
        )
    ]
