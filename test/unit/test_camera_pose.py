"""Turns and names of frames, against closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_estimation_ros.camera_pose import (
    foot_frame_id,
    pinhole_rays,
    pose_over_floor,
    rotation_from_quaternion,
    rotation_from_rpy,
)

ANGLES = st.floats(-180, 180)


@given(pitch_deg=st.floats(-89, 89), height_m=st.floats(0.1, 2))
def test_positive_pitch_looks_down_and_up_is_away_from_the_floor(pitch_deg, height_m):
    pose = pose_over_floor(height_m, pitch_deg, "foot")
    pitch = np.radians(pitch_deg)
    np.testing.assert_allclose(pose.rotation @ [0, 0, 1], [np.cos(pitch), 0, -np.sin(pitch)], atol=1e-12)
    np.testing.assert_allclose(pose.rotation @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(pose.up_camera, [0, -np.cos(pitch), -np.sin(pitch)], atol=1e-12)
    assert (pose.x_m, pose.y_m, pose.height_m) == (0, 0, height_m)


def test_positive_roll_lowers_the_right_side():
    assert (pose_over_floor(1, 0, "foot", roll_deg=20).rotation @ [1, 0, 0])[2] < -0.3


@settings(max_examples=50)
@given(ANGLES, ANGLES, ANGLES)
def test_rpy_turns_about_fixed_axes_in_turn(roll_deg, pitch_deg, yaw_deg):
    about_x, about_y, about_z = (
        cv2.Rodrigues(np.radians(angle) * np.eye(3)[axis])[0]
        for axis, angle in enumerate((roll_deg, pitch_deg, yaw_deg))
    )
    np.testing.assert_allclose(rotation_from_rpy(roll_deg, pitch_deg, yaw_deg), about_z @ about_y @ about_x, atol=1e-9)


@given(st.tuples(*[st.floats(-1, 1)] * 3), st.floats(0.01, 3.1), st.floats(0.1, 5))
def test_quaternions_of_any_length_turn_as_their_axis_and_angle_say(axis, angle_rad, length):
    norm = np.linalg.norm(axis)
    if norm < 1e-3:
        return
    axis = np.array(axis) / norm
    x, y, z = np.sin(angle_rad / 2) * axis * length
    rotation = rotation_from_quaternion(x, y, z, np.cos(angle_rad / 2) * length)
    np.testing.assert_allclose(rotation, cv2.Rodrigues(angle_rad * axis)[0], atol=1e-9)


@pytest.mark.parametrize("broken", [(0.0, 0.0, 0.0, 0.0), (np.nan, 0.0, 0.0, 1.0)])
def test_what_is_no_quaternion_is_refused(broken):
    with pytest.raises(ValueError, match="no quaternion"):
        rotation_from_quaternion(*broken)


@pytest.mark.parametrize(
    ("optical", "foot"),
    [
        ("camera_optical_frame", "camera_scan"),
        ("front/camera_optical", "front/camera_scan"),
        ("camera_frame", "camera_scan"),
        ("cam0", "cam0_scan"),
        ("", "camera_scan"),
        ("_optical", "_optical_scan"),
    ],
)
def test_the_foot_is_named_after_the_camera(optical, foot):
    assert foot_frame_id(optical) == foot


def test_rays_project_back_onto_their_pixels():
    k = np.array([[50.0, 0, 11.0], [0, 40.0, 6.5], [0, 0, 1]])
    pixels = pinhole_rays((14, 22), k) @ k.T
    rows, columns = np.mgrid[:14, :22]
    np.testing.assert_allclose(pixels[..., 0], columns, atol=1e-9)
    np.testing.assert_allclose(pixels[..., 1], rows, atol=1e-9)
