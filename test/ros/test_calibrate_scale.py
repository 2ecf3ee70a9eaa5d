"""calibrate_scale as a process of its own, beside the node and a trusted sensor."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile
from robot_harness import BEST_EFFORT, Camera, Robot
from sensor_msgs.msg import CameraInfo, Image, LaserScan

HEIGHT_M, PITCH_DEG = 0.32, 35.0
BEST_EFFORT_QOS = QoSProfile(depth=5, reliability=BEST_EFFORT)


class FloorCamera(Camera):
    """Looks down at nothing but floor."""

    plane = (0.0, np.cos(np.radians(PITCH_DEG)), np.sin(np.radians(PITCH_DEG)), HEIGHT_M)


class ReferenceCamera(Camera):
    """Sends with each image what a depth camera of twice the resolution, and a level scanner, measure."""

    plane = (0.25, 0.0, 1.0, 2.0)  # a wall: the same at every height
    factor = 1.0

    def __init__(self, robot: Robot):
        super().__init__(robot)
        self._depths = robot.node.create_publisher(Image, "/reference/depth", 10)
        self._scans = robot.node.create_publisher(LaserScan, "/scanner/scan", BEST_EFFORT_QOS)

    def send(self, with_info: bool = True) -> int:
        stamp_ns = super().send(with_info)
        depth_mm = np.rint(np.kron(self.depth_m(), np.ones((2, 2))) * self.factor * 1000).astype(np.uint16)
        msg = Image(height=240, width=320, encoding="16UC1", step=640)
        msg.header.stamp.sec, msg.header.stamp.nanosec = stamp_ns // 10**9, stamp_ns % 10**9
        msg.data.frombytes(depth_mm.tobytes())
        self._depths.publish(msg)
        scan = LaserScan(angle_min=-0.6, angle_increment=0.01, range_min=0.1, range_max=12.0, header=msg.header)
        angles = -0.6 + 0.01 * np.arange(121)
        # In x forward, y left the wall is x - 0.25 y = 2; the scanner stands 0.1 m behind the camera.
        scan.ranges = ((2.0 * self.factor + 0.1) / (np.cos(angles) - 0.25 * np.sin(angles))).tolist()
        self._scans.publish(scan)
        return stamp_ns


def calibrate(robot: Robot, *arguments: str):
    robot.wait_for_state("active")  # it asks for the node's parameters, and waits for an answer only so long
    return robot.run(sys.executable, "-m", "depth_estimation_ros.calibrate_scale", "--frames", "8", *arguments)


def scale_of(camera: Camera, process) -> float:
    camera.send_until(lambda: process.popen.poll() is not None, "calibrate_scale ends")
    assert process.popen.returncode == 0, process.output
    return float(re.search(r"^scale: ([\d.]+)$", process.output, re.MULTILINE)[1])


@pytest.mark.parametrize(("factor", "scale"), [(0.5, 1.0), (1.13, 1.0), (2.0, 0.8)])
def test_a_depth_camera_tells_what_to_set_whatever_the_present_scale(robot, factor, scale):
    robot.start(parameters={"scale": scale})
    camera = ReferenceCamera(robot)
    camera.factor = factor
    process = calibrate(robot, "--reference", "depth", "--topic", "/reference/depth")
    assert scale_of(camera, process) == pytest.approx(factor, rel=0.03)
    assert "8 frames" in process.output


def test_a_whole_number_that_was_set_live_is_a_scale_too(robot):
    robot.start()
    robot.wait_for_state("active")
    value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=2)
    request = SetParameters.Request(parameters=[Parameter(name="scale", value=value)])
    assert robot.call(SetParameters, "/depth_estimation/set_parameters", request).results[0].successful
    process = calibrate(robot, "--reference", "depth", "--topic", "/reference/depth")
    assert scale_of(ReferenceCamera(robot), process) == pytest.approx(1.0, rel=0.03)


def test_a_scanner_with_a_known_place_tells_it_too(robot):
    robot.start()
    camera = ReferenceCamera(robot)
    camera.factor = 1.4
    pose = ("--pose", "0.1", "0", "0", "0", "0", "0")
    process = calibrate(robot, "--reference", "scan", "--topic", "/scanner/scan", *pose)
    assert scale_of(camera, process) == pytest.approx(1.4, rel=0.03)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_floor_tells_it_from_the_height_of_the_camera(robot, factor):
    robot.start()
    height = str(HEIGHT_M * factor)
    process = calibrate(robot, "--reference", "floor", "--camera-height", height, "--camera-pitch", str(PITCH_DEG))
    assert scale_of(FloorCamera(robot), process) == pytest.approx(factor, rel=0.03)


def test_a_refusal_says_why_on_standard_error_and_in_the_exit_status(robot):
    robot.start()
    camera = ReferenceCamera(robot)  # sees a wall and no floor
    process = calibrate(robot, "--reference", "floor", "--camera-height", "0.3", "--timeout", "10")
    camera.send_until(lambda: process.popen.poll() is not None, "calibrate_scale ends")
    assert process.popen.returncode == 1
    assert "no scale: only" in process.output
    assert "--camera-pitch" in process.output
    assert "scale: 0" not in process.output


class UncalibratedCamera(ReferenceCamera):
    def info(self, stamp: Time | None = None) -> CameraInfo:
        msg = super().info(stamp)
        msg.k, msg.p = [0.0] * 9, [0.0] * 12
        return msg


@pytest.mark.parametrize("reference", ["floor", "scan"])
def test_without_a_calibration_that_is_what_is_named(robot, reference):
    robot.start()
    camera = UncalibratedCamera(robot)
    given = ("--camera-height", "0.3") if reference == "floor" else ("--topic", "/scanner/scan", "--pose", *"000000")
    process = calibrate(robot, "--reference", reference, *given, "--timeout", "10")
    camera.send_until(lambda: process.popen.poll() is not None, "calibrate_scale ends")
    assert process.popen.returncode == 1
    assert "CameraInfo says uncalibrated" in process.output
    assert "assumed_hfov_deg" in process.output
    assert "Warning" not in process.output


def test_the_nodes_own_scan_is_no_reference(robot):
    robot.start(parameters={"camera_height": HEIGHT_M})
    camera = ReferenceCamera(robot)
    process = calibrate(robot, "--reference", "scan", "--topic", "/scan", "--pose", *"000000")
    camera.send_until(lambda: process.popen.poll() is not None, "calibrate_scale ends")
    assert process.popen.returncode == 1
    assert "/scan is depth_estimation's own" in process.output


def test_a_node_that_follows_the_floor_is_not_calibrated(robot):
    robot.start(parameters={"floor_scale": True, "camera_height": HEIGHT_M})
    process = calibrate(robot, "--reference", "floor", "--camera-height", str(HEIGHT_M))
    robot.wait_until(lambda: process.popen.poll() is not None, "calibrate_scale ends")
    assert process.popen.returncode == 1
    assert "set floor_scale to false" in process.output
