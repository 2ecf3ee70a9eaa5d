"""What the libraries log comes out as the node's own lines, and log_level decides how much."""

from __future__ import annotations

import logging

import rclpy.logging
from robot_harness import Camera, nanoseconds
from sensor_msgs.msg import Image

from depth_estimation_ros.node_process import _RosLogHandler


def test_one_place_passes_on_lines_of_every_level(capfd):
    rclpy.logging.set_logger_level("passed_on", rclpy.logging.LoggingSeverity.DEBUG)
    logger = logging.Logger("library", logging.DEBUG)
    logger.addHandler(_RosLogHandler(rclpy.logging.get_logger("passed_on")))
    levels = ("debug", "info", "warning", "error", "info", "debug")
    for level in levels:  # rclpy raises where one place in the code logs at another level than before
        getattr(logger, level)("said at %s", level)
    lines = [line for line in capfd.readouterr().err.splitlines() if "passed_on" in line]
    assert [line.rpartition(" ")[2] for line in lines] == list(levels)
    assert ["WARN" in line for line in lines] == [level == "warning" for level in levels]


def test_debug_says_how_images_go_in_and_when_depth_goes_out(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    node = robot.start(extra=("--log-level", "depth_estimation:=debug"))
    camera = Camera(robot)
    camera.connect(depths)
    sent = camera.send()
    robot.wait_until(lambda: depths, "depth")
    assert nanoseconds(depths[0]) == sent
    robot.wait_until(lambda: f"published frame {sent}, age " in node.output, "the frame's line")
    assert "160x120 images go into the network at 160x120; focal length 130.0 network pixels" in node.output
    assert "model plane double on cpu, for images of /image" in node.output
