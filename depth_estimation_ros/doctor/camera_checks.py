"""The camera as the node hears it: who publishes, how often, in which encoding, with which calibration."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.calibration import (
    Calibration,
    CalibrationError,
    fit_to_image,
    fold,
    needs_rectification,
    rectified_pinhole,
)
from depth_estimation_ros.doctor.findings import Finding
from depth_estimation_ros.images import SUPPORTED_ENCODINGS
from depth_estimation_ros.topics import COMPRESSED_SUFFIX
from depth_estimation_ros.transport import NEW_VARIABLE, OLD_VARIABLE

LEAST_RATE_HZ = 2.0
GREATEST_STAMP_AGE_S = 1.0

STOCK_LARGEST_BYTES = 500_000
"""Stock Fast DDS loses best-effort messages above this: the size of its shared-memory segment."""


@dataclass(frozen=True)
class PublisherFacts:
    """One publisher of a topic: node name with namespace, whether it is reliable, and its message type."""

    node: str
    reliable: bool
    message_type: str


@dataclass(frozen=True)
class ImageFacts:
    """What was seen on the image topic.

    Attributes:
        topic: As resolved.
        expected_type: What the node subscribes to, as sensor_msgs/msg/Image.
        publishers: All of them.
        rate_hz: Of the images heard; None where fewer than two came.
        encoding: Of the last image, `format` for a compressed one; None where no image came.
        size: (H, W) pixels of the last image once decoded; None where it could not be.
        message_bytes: Length of its data.
        frame_id: Of its header.
        stamp_age_s: From its stamp to its arrival, by this machine's clock; None where the clock is simulated.
        decode_error: Why it cannot be decoded.
    """

    topic: str
    expected_type: str
    publishers: tuple[PublisherFacts, ...]
    rate_hz: float | None = None
    encoding: str | None = None
    size: tuple[int, int] | None = None
    message_bytes: int = 0
    frame_id: str = ""
    stamp_age_s: float | None = None
    decode_error: str | None = None


@dataclass(frozen=True)
class CalibrationFacts:
    """What was seen on the CameraInfo topic.

    Attributes:
        topic: As resolved.
        publishers: All of them.
        calibration: The last one heard; None where none came.
        frame_id: Of its header.
        image_size: (H, W) pixels of the image beside it; None where unknown.
        image_frame_id: Of that image's header; None where unknown.
        input_rectified: Whether the node takes the images for rectified.
        assumed_hfov_deg: The node's parameter; 0 where nothing is assumed.
    """

    topic: str
    publishers: tuple[PublisherFacts, ...]
    calibration: Calibration | None = None
    frame_id: str = ""
    image_size: tuple[int, int] | None = None
    image_frame_id: str | None = None
    input_rectified: bool = False
    assumed_hfov_deg: float = 0.0


def check_publishers(facts: ImageFacts) -> list[Finding]:
    """Somebody publishes the image topic, once, with the type that the node subscribes to."""
    if not facts.publishers:
        return [
            Finding(
                "ERROR",
                f"nobody publishes {facts.topic}",
                "start the camera, or remap `image` to its topic: `ros2 topic list -t | grep Image` lists them",
            )
        ]
    findings = []
    types = sorted({publisher.message_type for publisher in facts.publishers})
    if types != [facts.expected_type]:
        findings.append(
            Finding(
                "ERROR",
                f"{facts.topic} carries {' and '.join(types)}, and the node subscribes to {facts.expected_type}",
                _how_to_read(facts.topic, types[0]),
            )
        )
    findings += _several_publishers(facts.topic, facts.publishers)
    return findings or [Finding("OK", f"{facts.topic} is published by {facts.publishers[0].node}")]


def _how_to_read(topic: str, message_type: str) -> str:
    if message_type == "sensor_msgs/msg/Image":
        return "set image_transport to raw, or remap `image` to the other topic"
    if message_type != "sensor_msgs/msg/CompressedImage":
        return "remap `image` to a topic of images, or let image_transport's `republish` make raw or compressed of it"
    if topic.endswith(COMPRESSED_SUFFIX):
        return "set image_transport to compressed, or remap `image` to the other topic"
    return f"set image_transport to compressed and remap `image/compressed`: -r image/compressed:={topic}"


def _several_publishers(topic: str, publishers: tuple[PublisherFacts, ...]) -> list[Finding]:
    if len(publishers) < 2:
        return []
    names = ", ".join(sorted(publisher.node for publisher in publishers))
    return [Finding("WARN", f"{topic} has {len(publishers)} publishers: {names}", "keep one of them")]


def check_images(facts: ImageFacts, is_fastdds: bool) -> list[Finding]:
    """Images come, fast enough, fresh, and are not of a kind that stock middleware loses."""
    best_effort = any(not publisher.reliable for publisher in facts.publishers)
    if facts.encoding is None:
        if not facts.publishers:
            return []
        remedy = "look at the camera driver's log; across machines, check ROS_DOMAIN_ID and that multicast passes"
        if best_effort and is_fastdds and facts.expected_type.endswith("/Image"):
            remedy += (
                f". Images above {STOCK_LARGEST_BYTES / 1e6:g} MB, sent best effort as these, stock Fast DDS loses: "
                + _large_message_remedy("MEGABYTES")
            )
        return [Finding("ERROR", f"{facts.topic} has a publisher, and no image came", remedy)]
    findings = []
    if facts.rate_hz is None or facts.rate_hz < LEAST_RATE_HZ:
        rate = "one image" if facts.rate_hz is None else f"{facts.rate_hz:.1f} images per second"
        findings.append(
            Finding(
                "WARN", f"only {rate} came on {facts.topic}", "raise the driver's rate, or lower the size of its images"
            )
        )
    if best_effort and is_fastdds and facts.message_bytes > STOCK_LARGEST_BYTES:
        findings.append(
            Finding(
                "WARN",
                f"images of {facts.message_bytes} bytes are sent best effort: stock Fast DDS loses nearly all of "
                "these, unless the driver has a profile for large messages",
                _large_message_remedy(f"{facts.message_bytes / 1e6:.1f}"),
            )
        )
    if facts.stamp_age_s is not None and abs(facts.stamp_age_s) > GREATEST_STAMP_AGE_S:
        where = "behind" if facts.stamp_age_s > 0 else "ahead of"
        findings.append(
            Finding(
                "WARN",
                f"images are stamped {abs(facts.stamp_age_s):.1f} s {where} this machine's clock, so tf will not fit",
                "synchronise the machines' clocks (chrony), or correct the driver's stamps; for a recording set "
                "use_sim_time and play with --clock",
            )
        )
    reliability = "best effort" if best_effort else "reliable"
    return findings or [Finding("OK", f"{facts.rate_hz:.1f} images per second, {reliability}")]


def _large_message_remedy(message_mb: str) -> str:
    return (
        "make the driver's QoS reliable, or `ros2 run depth_estimation_ros transport_profile --message-mb "
        f"{message_mb} > camera.xml` and start the driver with {NEW_VARIABLE} set to that file (before Kilted "
        f"{OLD_VARIABLE})"
    )


def check_encoding(facts: ImageFacts) -> list[Finding]:
    """The last image can be decoded."""
    if facts.encoding is None:
        return []
    if facts.expected_type.endswith("/Image") and facts.encoding not in SUPPORTED_ENCODINGS:
        return [
            Finding(
                "ERROR",
                f"images have the encoding {facts.encoding!r}, which is not supported",
                f"set the camera driver to one of {', '.join(SUPPORTED_ENCODINGS)}",
            )
        ]
    if facts.decode_error is not None or facts.size is None:
        return [Finding("ERROR", f"images cannot be decoded: {facts.decode_error}", "do as the sentence says")]
    return [Finding("OK", f"images are {facts.encoding} of {facts.size[1]}x{facts.size[0]} pixels")]


def check_calibration(facts: CalibrationFacts) -> list[Finding]:
    """CameraInfo comes, says calibrated, fits the image, and can be undone."""
    if facts.calibration is None:
        came = "nobody publishes" if not facts.publishers else "nothing came on"
        return [_without_calibration(f"{came} {facts.topic}", facts.assumed_hfov_deg)]
    if not facts.calibration.is_calibrated:
        return [_without_calibration(f"{facts.topic} says uncalibrated: K[0] is 0", facts.assumed_hfov_deg)]
    findings = _several_publishers(facts.topic, facts.publishers)
    remedy = "calibrate the camera again at the size that it sends: `ros2 run camera_calibration cameracalibrator`"
    try:
        folded = fold(facts.calibration)
        rectified_pinhole(folded)
        if not facts.input_rectified:
            needs_rectification(folded)
        warning = None if facts.image_size is None else fit_to_image(folded, facts.image_size)[1]
        if warning is not None:
            findings.append(Finding("WARN", f"{facts.topic}: {warning}", remedy))
    except CalibrationError as error:
        return [Finding("ERROR", f"{facts.topic} cannot be used, so there is no cloud: {error}", remedy)]
    if facts.image_frame_id is not None and facts.frame_id != facts.image_frame_id:
        findings.append(
            Finding(
                "WARN",
                f"{facts.topic} is of frame {facts.frame_id!r} and the image of {facts.image_frame_id!r}",
                "correct the camera driver; if it is another camera's CameraInfo, remap `camera_info`",
            )
        )
    k, model = facts.calibration.k, facts.calibration.distortion_model or "no distortion"
    return findings or [Finding("OK", f"calibrated: fx {k[0, 0]:.1f}, fy {k[1, 1]:.1f} pixels, {model}")]


def _without_calibration(sentence: str, assumed_hfov_deg: float) -> Finding:
    calibrate = "`ros2 run camera_calibration cameracalibrator`"
    if assumed_hfov_deg:
        view = f"a view of {assumed_hfov_deg:g} degrees is assumed, so scale and shape of the cloud are rough"
        return Finding("WARN", f"{sentence}; {view}", f"calibrate the camera: {calibrate}")
    return Finding(
        "ERROR",
        f"{sentence}, so there is no cloud",
        f"calibrate the camera ({calibrate}), remap `camera_info`, or set assumed_hfov_deg to the camera's view",
    )
