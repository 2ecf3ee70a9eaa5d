"""Which of tf2 and the parameters says where the camera stands, and what is said where neither does."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.node import Node
from std_msgs.msg import Header

from depth_estimation_ros.camera_mounting import CameraMounting
from depth_estimation_ros.camera_pose import BODY_FROM_OPTICAL, rotation_from_rpy
from depth_estimation_ros.parameters import Parameters

HEADER = Header(stamp=Time(sec=7, nanosec=5), frame_id="camera_optical_frame")


class ExtrapolationError(Exception):
    pass


class TfDouble:
    """What of tf2_ros is used: one transform, known at the times in `known_ns`, 0 meaning the latest."""

    ExtrapolationException = ExtrapolationError

    def __init__(self, known_ns: set[int]):
        self.known_ns = known_ns
        self.listening = 0

    def Buffer(self):
        return self

    def clear(self) -> None:
        self.known_ns = set()

    def TransformListener(self, buffer, node, *, spin_thread):
        assert spin_thread is False  # the node's own executor spins
        self.listening += 1
        return SimpleNamespace(unregister=self._unregister)

    def _unregister(self) -> None:
        self.listening -= 1

    def lookup_transform(self, target, source, time):
        assert (target, source) == ("base_link", "camera_optical_frame")
        if not self.known_ns:
            raise LookupError('"base_link" passed to lookupTransform\nargument does not exist')
        if time.nanoseconds not in self.known_ns:
            raise ExtrapolationError("into the future")
        # The quaternion of a camera that looks level along x: optical z is x, optical x is -y.
        rotation = SimpleNamespace(x=-0.5, y=0.5, z=-0.5, w=0.5)
        return SimpleNamespace(
            transform=SimpleNamespace(rotation=rotation, translation=SimpleNamespace(x=0.2, y=-0.1, z=0.3))
        )


def mounting_with(tf, monkeypatch) -> CameraMounting:
    monkeypatch.setitem(sys.modules, "tf2_ros", tf)
    mounting = CameraMounting(Node.__new__(Node), "base_link")
    mounting.start()
    return mounting


def test_tf_at_the_images_own_time_says_all(monkeypatch):
    tf = TfDouble({7_000_000_005})
    mounting = mounting_with(tf, monkeypatch)
    pose, why_not = mounting.find(HEADER, Parameters())
    assert why_not is None
    assert pose is not None
    np.testing.assert_allclose(pose.rotation, BODY_FROM_OPTICAL, atol=1e-12)
    assert (pose.x_m, pose.y_m, pose.height_m, pose.frame_id) == (0.2, -0.1, 0.3, "base_link")
    assert tf.listening == 1
    mounting.stop()
    mounting.stop()
    assert tf.listening == 0


def test_the_latest_transform_does_where_the_images_own_has_not_come(monkeypatch):
    pose, _ = mounting_with(TfDouble({0}), monkeypatch).find(HEADER, Parameters())
    assert pose is not None


def test_what_tf_knew_before_a_jump_of_time_is_forgotten(monkeypatch):
    tf = TfDouble({0})
    mounting = mounting_with(tf, monkeypatch)
    mounting.forget()
    assert mounting.find(HEADER, Parameters())[0] is None
    tf.known_ns = {7_000_000_005}
    assert mounting.find(HEADER, Parameters())[0] is not None
    mounting.stop()
    mounting.forget()


def test_a_height_that_is_given_wins_over_a_frame_that_need_not_lie_on_the_floor(monkeypatch):
    pose, _ = mounting_with(TfDouble({0}), monkeypatch).find(HEADER, Parameters(camera_height=0.36))
    assert pose is not None
    assert (pose.height_m, pose.x_m) == (0.36, 0.2)


def test_without_a_transform_one_sentence_says_what_to_do(monkeypatch):
    pose, why_not = mounting_with(TfDouble(set()), monkeypatch).find(HEADER, Parameters(camera_height=1.0))
    assert pose is None
    assert why_not is not None
    assert "'base_link'" in why_not
    assert "publish the camera's transform" in why_not
    assert "\n" not in why_not


def test_without_tf2_ros_one_sentence_says_what_to_do(monkeypatch):
    pose, why_not = mounting_with(None, monkeypatch).find(HEADER, Parameters(camera_height=1.0))
    assert pose is None
    assert why_not is not None
    assert "tf2_ros is not installed" in why_not
    assert "tf2-ros-py" in why_not
    assert "camera_height" in why_not


def test_the_optical_frame_is_no_frame_for_a_scan():
    mounting = CameraMounting(Node.__new__(Node), "camera_optical_frame")
    pose, why_not = mounting.find(HEADER, Parameters())
    assert pose is None
    assert "z up" in (why_not or "")


@pytest.mark.parametrize("pitch_deg", [0.0, 12.0])
def test_the_parameters_put_the_camera_over_its_own_foot(pitch_deg):
    mounting = CameraMounting(Node.__new__(Node), "")
    mounting.start()
    pose, why_not = mounting.find(HEADER, Parameters(camera_height=0.4, camera_pitch=pitch_deg))
    assert why_not is None
    assert pose is not None
    assert (pose.x_m, pose.y_m, pose.height_m, pose.frame_id) == (0, 0, 0.4, "camera_scan")
    np.testing.assert_allclose(pose.rotation, rotation_from_rpy(0, pitch_deg, 0) @ BODY_FROM_OPTICAL)


def test_where_nothing_is_said_the_parameters_to_set_are_named():
    pose, why_not = CameraMounting(Node.__new__(Node), "").find(HEADER, Parameters())
    assert pose is None
    assert "scan.frame" in (why_not or "")
    assert "camera_height" in (why_not or "")
