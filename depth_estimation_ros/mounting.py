"""Where a camera sits on a robot: from height and tilt to the transform that tf wants. Standard library only."""

from __future__ import annotations

import math


class MountingError(ValueError):
    """A height or pitch that no camera is mounted at; one sentence with the value, the rule and what to do."""


def optical_quaternion(pitch_rad: float) -> tuple[float, float, float, float]:
    """Orientation of a forward-looking camera's optical frame in the robot's base frame (REP 103).

    The base has x forward, y left, z up; the optical frame z forward, x right, y down.

    Args:
        pitch_rad: Turn about the base's y axis: positive tilts the view down.

    Returns:
        (x, y, z, w), of length 1: rotates vectors of the optical frame into the base frame.
    """
    sine, cosine = math.sin(pitch_rad / 2), math.cos(pitch_rad / 2)
    # The turn by pitch, times the fixed quaternion (-1/2, 1/2, -1/2, 1/2) of the untilted optical frame.
    return (-(cosine + sine) / 2, (cosine + sine) / 2, (sine - cosine) / 2, (cosine - sine) / 2)


def check_mounting(height_m: float, pitch_deg: float) -> None:
    """Refuse what is a slip rather than a mounting.

    Args:
        height_m: Of the lens above the base frame, metres.
        pitch_deg: Degrees, positive tilts the view down.

    Raises:
        MountingError: Either is not finite, the height is not above 0, or the pitch is beyond straight down or up.
    """
    if not (math.isfinite(height_m) and height_m > 0):
        raise MountingError(
            f"camera_height is {height_m:g} m: it is measured from the floor up to the lens and must be above 0; "
            "correct it"
        )
    if not (math.isfinite(pitch_deg) and abs(pitch_deg) <= 90):
        raise MountingError(
            f"camera_pitch is {pitch_deg:g} degrees: it must lie between -90 (straight up) and 90 (straight down); "
            "correct it"
        )
