"""Remaps, namespaces, compressed transport, and cameras of either reliability."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot_harness import BEST_EFFORT, RELIABLE, Camera, depth_of, nanoseconds
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2


def test_remapping_the_image_moves_camera_info_with_it(robot):
    clouds = robot.listen(PointCloud2, "/depth/points")
    robot.start(remaps={"image": "/front/camera/image_raw"})
    camera = Camera(robot, "/front/camera/image_raw", "/front/camera/camera_info")
    camera.connect(clouds)  # there is no cloud without calibration


def test_camera_info_remapped_itself_stays_where_it_is_put(robot):
    clouds = robot.listen(PointCloud2, "/ns/depth/points")
    robot.start(remaps={"image": "/front/image_raw", "camera_info": "/calibration", "__ns": "/ns"})
    camera = Camera(robot, "/front/image_raw", "/calibration")
    camera.connect(clouds)


def test_camera_info_may_be_remapped_to_the_name_it_would_have_without_a_remap_of_the_image(robot):
    clouds = robot.listen(PointCloud2, "/depth/points")
    robot.start(remaps={"image": "/uncompressed/image_raw", "camera_info": "/camera_info"})
    camera = Camera(robot, "/uncompressed/image_raw", "/camera_info")
    camera.connect(clouds)


def test_two_nodes_side_by_side_in_namespaces(robot):
    left, right = robot.listen(PointCloud2, "/left/depth/points"), robot.listen(PointCloud2, "/right/depth/points")
    robot.start(remaps={"__ns": "/left"})
    robot.start(remaps={"__ns": "/right"})
    camera = Camera(robot, "/left/image", "/left/camera_info")
    camera.send_until(lambda: left, "the left camera's cloud")
    robot.wait_until(lambda: robot.node.count_publishers("/right/depth/points"), "the right node")
    camera.connect(left)
    assert right == []
    camera = Camera(robot, "/right/image", "/right/camera_info")
    camera.send_until(lambda: right, "the right camera's cloud")


@pytest.mark.parametrize("remap", ["/camera/image_raw", "/camera/image_raw/compressed"])
def test_compressed_images(robot, remap):
    depths, clouds = robot.listen(Image, "/depth/image_rect"), robot.listen(PointCloud2, "/depth/points")
    robot.start(parameters={"image_transport": "compressed"}, remaps={"image": remap})
    camera = Camera(robot, "/camera/image_raw/compressed", "/camera/camera_info", image_type=CompressedImage)
    raw_image = camera.image

    def compressed(stamp=None) -> CompressedImage:
        raw = raw_image(stamp)
        rgb = np.frombuffer(raw.data, np.uint8).reshape(*camera.size, 3)
        return CompressedImage(header=raw.header, format="png", data=cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())

    camera.image = compressed
    camera.connect(depths, clouds)
    stamp = camera.send()
    robot.wait_until(lambda: depths, "depth")
    assert nanoseconds(depths[0]) == stamp
    np.testing.assert_allclose(depth_of(depths[0]), camera.depth_m(), atol=6e-4)


def test_a_best_effort_camera_is_heard_whether_it_comes_first_or_later(robot):
    clouds = robot.listen(PointCloud2, "/depth/points")
    early = Camera(robot, reliability=BEST_EFFORT)
    robot.start()
    early.connect(clouds)
    assert robot.values["subscribed to /image"] == robot.values["subscribed to /camera_info"] == "best effort"


def test_a_camera_that_comes_back_with_another_reliability_is_heard(robot):
    clouds = robot.listen(PointCloud2, "/depth/points")
    robot.start()
    robot.wait_for_state("active")
    for reliability, name in ((BEST_EFFORT, "best effort"), (RELIABLE, "reliable"), (BEST_EFFORT, "best effort")):
        camera = Camera(robot, reliability=reliability)
        camera.connect(clouds)
        robot.wait_until(lambda name=name: robot.values["subscribed to /image"] == name, f"subscribed {name}")
        camera.connect(clouds)
        robot.node.destroy_publisher(camera.images)
        robot.node.destroy_publisher(camera.infos)


def test_qos_overrides_hold_where_the_user_gives_them_and_pin_nothing_else(robot):
    clouds = robot.listen(PointCloud2, "/depth/points", BEST_EFFORT)
    overrides = {
        "qos_overrides./image.subscription.reliability": "best_effort",
        "qos_overrides./depth/points.publisher.reliability": "best_effort",
    }
    robot.start(parameters=overrides)
    camera = Camera(robot)
    camera.connect(clouds)

    def reliabilities(infos) -> list:
        return [info.qos_profile.reliability for info in infos]

    assert robot.values["subscribed to /image"] == "best effort"
    assert robot.values["subscribed to /camera_info"] == "reliable"
    assert reliabilities(robot.node.get_subscriptions_info_by_topic("/image")) == [BEST_EFFORT]
    assert reliabilities(robot.node.get_subscriptions_info_by_topic("/camera_info")) == [RELIABLE]
    assert reliabilities(robot.node.get_publishers_info_by_topic("/depth/points")) == [BEST_EFFORT]
    assert reliabilities(robot.node.get_publishers_info_by_topic("/depth/image_rect")) == [RELIABLE]


@pytest.mark.parametrize("comes", ["first", "later"])
def test_a_camera_info_that_was_sent_once_and_is_kept_is_heard(robot, comes):
    def send_once(camera: Camera) -> None:
        robot.node.destroy_publisher(camera.infos)
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        camera.infos = robot.node.create_publisher(CameraInfo, "/camera_info", qos)
        camera.infos.publish(camera.info())

    clouds = robot.listen(PointCloud2, "/depth/points")
    camera = Camera(robot)
    if comes == "first":
        send_once(camera)
    robot.start()
    if comes == "later":
        robot.wait_for_state("active")
        send_once(camera)
    camera.send_until(lambda: clouds, "a cloud", with_info=False)
    kind = "reliable, transient local"
    robot.wait_until(lambda: robot.value("subscribed to /camera_info") == kind, "subscribed to what is kept")
    assert robot.value("subscribed to /image") == "reliable"


def test_what_the_node_listens_to_is_none_of_its_outputs(robot):
    """A camera whose own CameraInfo is called as an output is."""
    own = Camera(robot, "/rgb/image_raw", "/rgb/camera_info")
    node = robot.start(remaps={"image": "/rgb/image_raw"})
    robot.wait_for_state("active")
    robot.wait_until(lambda: own.infos.get_subscription_count(), "the node listens")
    assert robot.node.count_publishers("/rgb/camera_info") == 1
    own.send_until(lambda: robot.count("unwatched (no subscriber)"), "nobody watches")
    assert "remap rgb/camera_info" in robot.values["rgb/camera_info"]
    assert "rgb/camera_info is silent" in node.output
    clouds = robot.listen(PointCloud2, "/depth/points")
    own.connect(clouds)


def test_an_output_that_others_publish_too_is_named(robot):
    robot.listen(PointCloud2, "/depth/points")
    robot.start()
    camera = Camera(robot)
    depth_camera = robot.node.create_publisher(PointCloud2, "/depth/points", 1)
    camera.send_until(lambda: robot.says(DiagnosticStatus.WARN, "others publish /depth/points"), "the remark")
    robot.node.destroy_publisher(depth_camera)
    camera.send_until(lambda: robot.says(DiagnosticStatus.OK, "frames per second"), "all is well again")
