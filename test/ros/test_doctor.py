"""The doctor as a process of its own, beside a real node and a camera: a healthy pair, and one with several faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot_harness import BEST_EFFORT, Camera, NodeProcess
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

DOCTOR = [sys.executable, "-m", "depth_estimation_ros.doctor", "--seconds", "2"]
SCRIPT = Path(__file__).parents[2] / "scripts" / "doctor"


@pytest.fixture
def call_doctor(robot, domain, tmp_path):
    def call(*command: str) -> NodeProcess:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(tmp_path)}
        process = NodeProcess([*(command or DOCTOR)], tmp_path / "doctor.log", environment)
        robot.processes.append(process)
        return process

    return call


class FaultyCamera(Camera):
    """Sends depth instead of colour, and is not calibrated."""

    def image(self, stamp=None) -> Image:
        msg = super().image(stamp)
        msg.encoding = "32FC1"
        return msg

    def info(self, stamp=None) -> CameraInfo:
        msg = super().info(stamp)
        msg.k = [0.0] * 9
        return msg


def test_a_healthy_pair_is_called_well(robot, call_doctor):
    camera = Camera(robot, reliability=BEST_EFFORT)
    robot.start(parameters={"diagnostics_period": 0.2, "camera_height": 0.5})
    robot.wait_for_state("active")
    robot.listen(PointCloud2, "/depth/points", BEST_EFFORT)
    robot.listen(LaserScan, "/scan")
    doctor = call_doctor()
    camera.send_until(lambda: doctor.popen.poll() is not None, "the doctor's report")
    assert doctor.exit_status() == 0, doctor.output
    assert "ERROR" not in doctor.output
    for words in (
        "depth node /depth_estimation speaks",
        "/image is published by /robot",
        "images per second, best effort",
        "images are rgb8 of 160x120 pixels",
        "calibrated: fx 130.0, fy 130.0 pixels, plumb_bob",
        "/depth_estimation is active",
        "depth images per second come out of /depth_estimation",
        "heard: /depth/points by /robot; /scan by /robot",
        "/scan is in frame 'camera_scan'",
        "model default runs on cpu",
    ):
        assert words in doctor.output, (words, doctor.output)


def test_every_fault_is_named_with_its_remedy(robot, call_doctor):
    camera = FaultyCamera(robot)
    robot.start(parameters={"diagnostics_period": 0.2})
    robot.wait_for_state("active")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    robot.node.create_subscription(PointCloud2, "/depth/points", lambda _: None, latched)
    doctor = call_doctor()
    camera.send_until(lambda: doctor.popen.poll() is not None, "the doctor's report")
    assert doctor.exit_status() == 1, doctor.output
    faults = [line for line in doctor.output.splitlines() if line.startswith("ERROR")]
    for words in (
        "images have the encoding '32FC1'",
        "/camera_info says uncalibrated: K[0] is 0",
        "/depth_estimation says: every frame rejected lately",
        "no depth came out of it",
        "/robot subscribes to /depth/points and cannot hear it",
    ):
        assert sum(words in fault for fault in faults) == 1, (words, doctor.output)
    assert len(faults) == 5, doctor.output


def test_a_node_that_speaks_seldom_is_waited_for(robot, call_doctor):
    camera = Camera(robot)
    robot.start(parameters={"diagnostics_period": 5.0})
    robot.listen(PointCloud2, "/depth/points")
    camera.send_until(lambda: robot.statuses, "the node's first word")
    doctor = call_doctor()
    camera.send_until(lambda: doctor.popen.poll() is not None, "the doctor's report")
    assert "depth node /depth_estimation speaks" in doctor.output
    assert "depth images per second come out of /depth_estimation" in doctor.output


def test_each_of_several_cameras_is_judged_by_its_own_depth(robot, call_doctor):
    front = Camera(robot, "/front/image", "/front/camera_info")
    rear = FaultyCamera(robot, "/rear/image", "/rear/camera_info")
    own = {"front.camera_height": 0.5}
    robot.start(parameters={"diagnostics_period": 0.2, "cameras": "[front, rear]", **own})
    for topic in ("/front/scan", "/rear/scan"):
        robot.listen(LaserScan, topic)
    robot.wait_for_state("active")
    robot.listen(PointCloud2, "/front/depth/points", BEST_EFFORT)
    doctor = call_doctor()

    def both_sent() -> bool:
        rear.send()
        return doctor.popen.poll() is not None

    front.send_until(both_sent, "the doctor's report")
    assert doctor.exit_status() == 1, doctor.output
    assert "depth images per second come out of /depth_estimation (front)" in doctor.output
    assert "images go into /depth_estimation (rear), and no depth came out of it" in doctor.output
    assert "/depth_estimation (rear) says: every frame rejected lately" in doctor.output
    assert "OK     /front/scan is in frame 'camera_scan'" in doctor.output
    assert "ERROR  /robot listens to /rear/scan, and the camera's place is unknown" in doctor.output
    assert doctor.output.count("heard: /front/depth/points by /robot; /front/scan by /robot; /rear/scan") == 1


def test_the_installed_script_says_where_there_is_nothing(robot, call_doctor):
    doctor = call_doctor(sys.executable, str(SCRIPT), "--image", "/camera/image_raw", "--seconds", "0.5")
    robot.wait_until(lambda: doctor.popen.poll() is not None, "the doctor's report")
    assert doctor.exit_status() == 1
    assert "no depth node speaks on /diagnostics" in doctor.output
    assert "nobody publishes /camera/image_raw" in doctor.output
    assert "nobody publishes /camera/camera_info" in doctor.output
