"""The scan, and the scale that the floor tells, from a camera over a floor that is known."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from robot_harness import Camera, depth_of, nanoseconds
from sensor_msgs.msg import Image, LaserScan

HEIGHT_M, PITCH_DEG = 0.5, 35.0
POSE = {"camera_height": HEIGHT_M, "camera_pitch": PITCH_DEG}


class FloorCamera(Camera):
    """Looks down at nothing but floor."""

    plane = (0.0, np.cos(np.radians(PITCH_DEG)), np.sin(np.radians(PITCH_DEG)), HEIGHT_M)


class WallCamera(Camera):
    """Level, in front of a wall at 2 m that turns away to the right."""

    plane = (0.3, 0.0, 1.0, 2.0)


def test_a_wall_comes_back_in_the_frame_under_the_camera(robot):
    scans = robot.listen(LaserScan, "/scan")
    robot.start(parameters={"camera_height": HEIGHT_M})
    camera = WallCamera(robot, frame_id="camera_optical_frame")
    camera.connect(scans)
    stamp_ns = camera.send()
    robot.wait_until(lambda: scans, "a scan")
    scan = scans[0]
    assert (nanoseconds(scan), scan.header.frame_id) == (stamp_ns, "camera_scan")
    assert (scan.range_min, scan.range_max) == (0.0, 10.0)
    bearings = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    # In x forward, y left the wall is x - 0.3 y = 2.
    expected = 2.0 / (np.cos(bearings) - 0.3 * np.sin(bearings))
    np.testing.assert_allclose(scan.ranges, expected, rtol=0.01)


def test_a_scan_needs_a_place_over_the_floor(robot):
    scans = robot.listen(LaserScan, "/scan")
    robot.start()
    camera = FloorCamera(robot)
    camera.send_until(
        lambda: robot.says(DiagnosticStatus.ERROR, "scan.frame", "camera_height"), "a sentence about what to set"
    )
    assert not scans


@pytest.mark.parametrize("name", ["lidar", "depth_estimation"])
def test_a_laser_scanner_keeps_its_topic_to_itself(robot, name):
    scans, depths = robot.listen(LaserScan, "/scan"), robot.listen(Image, "/depth/image_rect")
    other = Node(name, context=robot.node.context, start_parameter_services=False)
    lidar = other.create_publisher(LaserScan, "/scan", 10)
    robot.start(parameters={"camera_height": HEIGHT_M})
    camera = WallCamera(robot)
    camera.send_until(lambda: len(depths) > 5 and "others publish /scan" in (robot.value("scan") or ""), "depth")
    assert not scans
    other.destroy_publisher(lidar)
    camera.send_until(lambda: scans, "a scan once nobody else sends any")
    assert robot.count("rejected") == 0


@pytest.mark.parametrize("min_range", [0.0, 0.6])
def test_floor_alone_is_free(robot, min_range):
    """However near it is: the other outputs leave out what is nearer than min_range, the scan knows it for floor."""
    scans, depths = robot.listen(LaserScan, "/scan"), robot.listen(Image, "/depth/image_rect")
    robot.start(parameters={**POSE, "min_range": min_range})
    camera = FloorCamera(robot)
    camera.connect(scans)
    camera.send()
    robot.wait_until(lambda: scans and depths, "a scan and its depth")
    assert np.isneginf(depth_of(depths[-1])).any() == (min_range > 0)
    ranges = np.array(scans[0].ranges)
    assert not np.isfinite(ranges).any()
    assert np.isposinf(ranges[len(ranges) // 4 : -len(ranges) // 4]).all()


def test_a_scan_frame_without_tf_is_one_sentence_and_depth_goes_on(robot):
    depths, scans = robot.listen(Image, "/depth/image_rect"), robot.listen(LaserScan, "/scan")
    robot.start(parameters={"scan.frame": "base_link", **POSE})
    camera = FloorCamera(robot)
    # Where tf2_ros is installed nobody publishes the transform; the frame is named either way.
    camera.send_until(
        lambda: depths and robot.says(DiagnosticStatus.WARN, "scan.frame", "'base_link'"), "depth, and a remark"
    )
    assert not scans


def test_the_floor_corrects_the_scale_and_diagnostics_say_so(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    # The floor is where a camera 1.2 times as high would see it.
    robot.start(parameters={**POSE, "camera_height": 1.2 * HEIGHT_M, "floor_scale": True})
    camera = FloorCamera(robot)
    camera.send_until(lambda: float(robot.value("floor scale") or 1) > 1.19, "the floor's scale")
    assert float(robot.value("floor inlier share")) > 0.95
    assert robot.value("floor") == "seen"
    depths.clear()
    camera.send_until(lambda: depths, "depth")
    ratio = depth_of(depths[-1]) / camera.depth_m()
    np.testing.assert_allclose(np.median(ratio), 1.2, rtol=0.015)
