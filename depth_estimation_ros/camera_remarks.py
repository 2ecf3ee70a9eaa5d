"""What diagnostics say of one camera's frames, in words."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Header

from depth_estimation_ros.camera_info_buffer import StampedCalibration, to_nanoseconds
from depth_estimation_ros.camera_pipeline import Estimate
from depth_estimation_ros.inference.preprocessing import resize_image

LEAST_CONTRAST = 12.0
"""Levels of 255 between the darker and the lighter tenth of an image's parts; photographs of rooms have 55 and more."""


def whose_info(info: StampedCalibration | None, image_header: Header) -> str:
    """Which CameraInfo an image was given, by the policy of `camera_info_buffer`."""
    if info is None:
        return "none has come"
    age_s = (to_nanoseconds(image_header.stamp) - info.stamp_ns) / 1e9
    whose = (
        "the image's own stamp" if age_s == 0 else f"the latest, {abs(age_s):.3f} s {'old' if age_s > 0 else 'ahead'}"
    )
    return whose if info.frame_id == image_header.frame_id else f"{whose}, of frame {info.frame_id!r}"


def missing_info_remark(topic: str, name: str, is_offered: bool) -> str:
    """Why no CameraInfo has come, as far as the node can see, and what to do.

    Args:
        topic: As resolved.
        name: What is to be remapped.
        is_offered: Whether anybody publishes on it.
    """
    if not is_offered:
        return f"nobody publishes {topic}: remap {name} to the topic of the camera's CameraInfo"
    return f"nothing has come on {topic}, though it has a publisher: see whether the camera driver sends its CameraInfo"


def estimate_facts(estimate: Estimate) -> dict[str, str]:
    """How one image was worked on, by diagnostics' key; with what the floor said of the scale where it was asked."""
    view = estimate.view
    height, width = view.network_size
    facts = {
        "network size": f"{width}x{height}",
        "focal ratio": f"{estimate.focal_ratio:.4f}",
        "calibration": view.why_no_cloud or "; ".join(view.warnings) or "calibrated",
    }
    if estimate.floor is None:
        return facts
    return {
        **facts,
        "floor scale": f"{estimate.floor.factor:.3f}",
        "floor inlier share": f"{estimate.floor.inlier_share:.2f}",
        "floor": estimate.floor.note,
    }


def header_remarks(header: Header, image_frame_id: str, info: StampedCalibration | None) -> list[str]:
    """One sentence for each thing in the headers that is doubtful, with what to do."""
    remarks = []
    if to_nanoseconds(header.stamp) == 0:
        remarks.append("the image's stamp is zero, so neither tf nor latency is known: correct the camera driver")
    if not header.frame_id:
        remarks.append("the image has no frame_id: set optical_frame to the camera's optical frame")
    if info is not None and info.frame_id != image_frame_id:
        remarks.append(
            f"CameraInfo is of frame {info.frame_id!r} and the image of {image_frame_id!r}: it is used all the same; "
            "correct the camera driver if it is another camera's"
        )
    return remarks


def blank_remark(image_rgb: np.ndarray) -> str | None:
    """Say that an image shows nothing to tell depth by, as from a covered lens, in the dark, or overexposed.

    Args:
        image_rgb: (H, W, 3) uint8.

    Returns:
        None where it shows something.
    """
    parts = resize_image(image_rgb, (24, 32), "area").mean(axis=2)  # means, so that noise is none
    dark, light = np.percentile(parts, (10, 90))
    if light - dark >= LEAST_CONTRAST:
        return None
    return "the image is nearly blank, so that depth is a guess: uncover the lens, or correct light or exposure"
