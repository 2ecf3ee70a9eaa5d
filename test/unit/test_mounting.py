"""The camera's transform against its closed form: what each axis of the optical frame is in the robot's base frame."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.mounting import MountingError, check_mounting, optical_quaternion

PITCHES_RAD = st.floats(-math.pi / 2, math.pi / 2)


def rotation(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    """(3, 3) by Rodrigues' formula: axis and angle from the quaternion."""
    axis, w = np.array(quaternion[:3]), quaternion[3]
    length = np.linalg.norm(axis)
    angle = 2 * math.atan2(length, w)
    x, y, z = axis / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


@given(PITCHES_RAD)
def test_each_optical_axis_lies_where_the_tilt_puts_it(pitch_rad):
    sine, cosine = math.sin(pitch_rad), math.cos(pitch_rad)
    right, down, forward = [0, -1, 0], [-sine, 0, -cosine], [cosine, 0, -sine]
    np.testing.assert_allclose(
        rotation(optical_quaternion(pitch_rad)), np.transpose([right, down, forward]), atol=1e-12
    )


@given(PITCHES_RAD)
def test_the_quaternion_has_length_one(pitch_rad):
    assert np.linalg.norm(optical_quaternion(pitch_rad)) == pytest.approx(1, abs=1e-12)


@given(st.floats(0.05, 3), st.floats(0.05, math.pi / 2))
def test_the_centre_of_a_tilted_view_meets_the_floor_where_trigonometry_says(height_m, pitch_rad):
    distance_m = height_m / math.sin(pitch_rad)
    x, y, z = rotation(optical_quaternion(pitch_rad)) @ [0, 0, distance_m] + [0, 0, height_m]
    np.testing.assert_allclose((x, y, z), (height_m / math.tan(pitch_rad), 0, 0), atol=1e-9)


def test_an_ordinary_mounting_is_taken():
    check_mounting(0.3, 0.2)
    check_mounting(2.0, -90)


@pytest.mark.parametrize(
    ("height_m", "pitch_deg", "words"),
    [
        (0.0, 0.0, "camera_height is 0 m"),
        (-0.3, 0.0, "must be above 0"),
        (math.nan, 0.0, "camera_height is nan m"),
        (0.3, 91.0, "must lie between -90"),
        (0.3, math.inf, "camera_pitch is inf"),
    ],
)
def test_a_slip_is_refused_with_the_rule(height_m, pitch_deg, words):
    with pytest.raises(MountingError, match=words):
        check_mounting(height_m, pitch_deg)
