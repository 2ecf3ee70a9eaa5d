"""Bad images and calibrations: the frame is dropped, counted and named, and the node lives."""

from __future__ import annotations

import array
import time
from itertools import count

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from robot_harness import Camera, depth_of, nanoseconds
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

WARN, ERROR, OK = DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.OK


def test_bad_images_are_dropped_counted_and_named(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    node = robot.start()
    camera = Camera(robot)
    camera.connect(depths)

    def with_fields(**changes) -> Image:
        image = camera.image()
        for name, value in changes.items():
            setattr(image, name, value)
        return image

    failing = camera.image()
    failing.data[2] = 255
    bad = [
        (with_fields(step=100), "step"),
        (with_fields(height=0), "x0 pixels"),
        (with_fields(width=2**31, step=2**32 - 1), "2147483648x"),
        (with_fields(encoding="rgb9"), "'rgb9' is unknown"),
        (with_fields(data=array.array("B", bytes(1000))), "truncated"),
        (with_fields(data=array.array("B")), "truncated"),
        (failing, "told to fail"),
    ]
    rejected = robot.count("rejected")
    for number, (image, words) in enumerate(bad, start=1):
        camera.images.publish(image)
        robot.wait_until(lambda number=number: robot.count("rejected") == rejected + number, f"rejected for {words}")
        assert words in robot.values["last error"]
    assert robot.count("rejected: image") == 6
    assert robot.count("rejected: inference") == 1

    camera.send()
    robot.wait_until(lambda: len(depths) == 1, "the next good frame comes out")
    camera.send_until(
        lambda: robot.says(WARN, "rejected lately", "told to fail"), "what was rejected is told for a while"
    )
    assert node.popen.poll() is None


def test_a_covered_lens_is_told_and_its_depth_still_flows(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start(k=Camera.k, size=Camera.size, plane=Camera.plane)  # depth that does not come from the pixels
    camera = Camera(robot)
    camera.connect(depths)
    camera.send_until(lambda: robot.says(OK), "an image that shows something is no fault")
    image_of = camera.image

    def dark(stamp: Time | None = None) -> Image:
        image = image_of(stamp)
        image.data = array.array("B", np.random.default_rng(0).integers(0, 20, len(image.data), np.uint8).tobytes())
        return image

    camera.image = dark
    camera.send_until(lambda: robot.says(WARN, "nearly blank", "uncover the lens"), "it is told")
    np.testing.assert_allclose(depth_of(depths[-1]), camera.depth_m(), atol=6e-4)


def test_when_every_frame_is_bad_nothing_can_be_produced(robot):
    robot.listen(Image, "/depth/image_rect")
    robot.start()
    camera = Camera(robot)
    image = camera.image()
    image.encoding = "rgb9"
    camera.image = lambda stamp=None: image
    camera.send_until(lambda: robot.says(ERROR, "every frame", "'rgb9' is unknown"), "the encoding is named")


def test_an_uncalibrated_camera_gives_depth_and_says_why_there_is_no_cloud(robot):
    depths, infos, clouds = (
        robot.listen(Image, "/depth/image_rect"),
        robot.listen(CameraInfo, "/depth/camera_info"),
        robot.listen(PointCloud2, "/depth/points"),
    )
    robot.start()
    camera = Camera(robot)
    zeros = CameraInfo(height=120, width=160)
    zeros.header.frame_id = camera.frame_id
    camera.infos.publish(zeros)
    camera.info = lambda stamp=None: zeros
    camera.connect(depths, infos)
    camera.send_until(lambda: depths and infos, "depth flows")
    camera.send_until(lambda: robot.says(WARN, "K[0] is 0", "focal length is unknown"), "the reason is given")
    assert not any(infos[-1].k)
    assert "K[0] is 0" in robot.values["calibration"]
    assert robot.values["focal ratio"] == "1.0000"
    assert clouds == []

    del camera.info  # it gets calibrated while the node runs
    camera.send_until(lambda: clouds, "the cloud comes with the calibration")
    camera.send_until(lambda: robot.says(OK), "all is well then")
    assert robot.values["calibration"] == "calibrated"


def test_without_any_camera_info_depth_flows_after_a_moment_and_later_ones_are_taken(robot):
    depths, clouds = robot.listen(Image, "/depth/image_rect"), robot.listen(PointCloud2, "/depth/points")
    robot.start()
    camera = Camera(robot)
    camera.send_until(lambda: robot.says(WARN, "no CameraInfo has arrived"), "the reason is given", with_info=False)
    robot.wait_until(lambda: depths, "depth without calibration")
    assert clouds == []
    words = "nothing has come on /camera_info, though it has a publisher"
    camera.send_until(lambda: robot.says(WARN, words), "a driver that is silent is told apart", with_info=False)
    robot.node.destroy_publisher(camera.infos)
    words = "nobody publishes /camera_info: remap camera_info"
    camera.send_until(lambda: robot.says(WARN, words), "and so is a topic without any", with_info=False)
    camera.infos = robot.node.create_publisher(CameraInfo, "/camera_info", 50)
    camera.send_until(lambda: clouds, "the cloud once CameraInfo comes")


def test_only_a_cloud_that_cannot_be_made_is_an_error(robot):
    robot.listen(PointCloud2, "/depth/points")
    robot.start()
    camera = Camera(robot)
    words = ("nothing that is subscribed to can be made", "no CameraInfo has arrived")
    camera.send_until(lambda: robot.says(ERROR, *words), "the reason is given", with_info=False)
    assert robot.count("rejected: calibration") > 0


def test_an_assumed_field_of_view_gives_a_cloud_with_a_warning(robot):
    infos, clouds = robot.listen(CameraInfo, "/depth/camera_info"), robot.listen(PointCloud2, "/depth/points")
    robot.start(parameters={"assumed_hfov_deg": 60})
    camera = Camera(robot)
    camera.send_until(lambda: robot.says(WARN, "60 degrees"), "the assumption is named", with_info=False)
    robot.wait_until(lambda: infos and clouds, "a cloud on an assumed pinhole")
    assert np.rad2deg(2 * np.arctan(infos[-1].width / 2 / infos[-1].k[0])) == pytest.approx(60)


def test_doubtful_headers_are_used_and_reported(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start()
    camera = Camera(robot, frame_id="")
    camera.stamp = Time
    other = Camera(robot, frame_id="other")
    camera.info = lambda stamp=None: Camera.info(other, stamp)
    camera.send_until(lambda: robot.says(WARN, "stamp is zero", "no frame_id", "'other'"), "the doubts are named")
    robot.wait_until(lambda: depths, "depth")
    assert nanoseconds(depths[0]) == 0
    np.testing.assert_allclose(depth_of(depths[0]), camera.depth_m(), atol=6e-4)
    assert robot.values["stamp to publish p50 (ms)"] == "unknown"


def test_stamps_of_long_ago_are_used_and_reported(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start()
    camera = Camera(robot)
    numbers = count(1)
    camera.stamp = lambda: Time(sec=5000, nanosec=next(numbers))  # a recording, played without its clock
    camera.send_until(lambda: robot.says(WARN, "old when they arrive", "use_sim_time"), "the doubt is named")
    assert float(robot.values["image age on arrival (s)"]) > 1e9
    robot.wait_until(lambda: depths, "depth")


def test_simulated_time_without_a_clock_is_named(robot):
    robot.listen(Image, "/depth/image_rect")
    robot.start(parameters={"use_sim_time": True})
    camera = Camera(robot)
    camera.send_until(lambda: robot.says(WARN, "nothing has come on /clock"), "the missing clock is named")


def test_an_image_between_two_messages_of_a_slow_clock_is_no_fault(robot):
    """Simulated time stands still for a tenth of a second at a time; cameras are stamped by the simulator's own."""
    depths = robot.listen(Image, "/depth/image_rect")
    node = robot.start(parameters={"use_sim_time": True})
    clock = robot.node.create_publisher(Clock, "/clock", 1)
    camera, start_ns = Camera(robot), time.monotonic_ns()

    def to_stamp(ns: int) -> Time:
        return Time(sec=ns // 10**9, nanosec=ns % 10**9)

    def stamp_after_the_last_tick() -> Time:
        now_ns = 10**11 + time.monotonic_ns() - start_ns
        clock.publish(Clock(clock=to_stamp(now_ns - now_ns % 10**8)))
        return to_stamp(now_ns)

    camera.stamp = stamp_after_the_last_tick
    camera.send_until(lambda: len(depths) > 20 and robot.says(OK), "twenty depth images and nothing to say")
    assert "ahead of this node's clock" not in node.output


def test_a_camera_that_falls_silent_is_a_warning(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start()
    camera = Camera(robot)
    camera.connect(depths)
    robot.wait_for_status(WARN, "no image on /image")
    camera.send_until(lambda: robot.says(OK), "it speaks again")
