"""What comes out, against planes whose every point is known."""

from __future__ import annotations

import numpy as np
import pytest
from robot_harness import BEST_EFFORT, Camera, depth_of, nanoseconds, points_of
from sensor_msgs.msg import CameraInfo, Image, PointCloud2


def distance_to_plane_m(points: np.ndarray, plane: tuple[float, ...]) -> np.ndarray:
    normal, distance = np.array(plane[:3]), plane[3]
    return np.abs(points.reshape(-1, 3) @ normal - distance) / np.linalg.norm(normal)


def listen_to_all(robot, reliability=None) -> tuple[list, list, list]:
    given = () if reliability is None else (reliability,)
    return (
        robot.listen(Image, "/depth/image_rect", *given),
        robot.listen(CameraInfo, "/depth/camera_info", *given),
        robot.listen(PointCloud2, "/depth/points", *given),
    )


def test_a_slanted_plane_comes_back_frame_by_frame(robot):
    listeners = listen_to_all(robot)
    robot.start()
    camera = Camera(robot)
    camera.connect(*listeners)
    sent, planes = [], [(0.2, -0.3, 1.0, distance) for distance in (2.0, 3.5, 1.2, 4.0, 2.7)]
    for camera.plane in planes:
        sent.append(camera.send())
        robot.wait_until(lambda: all(len(listener) == len(sent) for listener in listeners), "one of each per frame")
    robot.wait_until(camera.is_settled, "the last frame is accounted for")

    depths, infos, clouds = listeners
    for listener in listeners:
        assert [nanoseconds(msg) for msg in listener] == sent  # each once, none twice
        assert {msg.header.frame_id for msg in listener} == {"camera_optical"}
    for depth, cloud, camera.plane in zip(depths, clouds, planes, strict=True):
        assert (depth.encoding, depth.step, depth.is_bigendian) == ("32FC1", 4 * 160, 0)
        np.testing.assert_allclose(depth_of(depth), camera.depth_m(), atol=6e-4)
        points = points_of(cloud)
        assert (cloud.height, cloud.width, cloud.is_dense, cloud.point_step) == (60, 80, False, 16)
        assert distance_to_plane_m(points, camera.plane).max() < 1e-3
        # Colour is the image's own, and its red byte says the depth in units of 256 mm.
        rgb = np.frombuffer(cloud.data, "<u4").reshape(60, 80, 4)[..., 3]
        assert (rgb >> 24).max() == 0
        np.testing.assert_array_equal(rgb >> 16, np.rint(camera.depth_m() * 1000).astype(int)[1::2, 1::2] >> 8)
    fx, fy, cx, cy = camera.k
    for info in infos:
        assert (info.height, info.width, info.distortion_model) == (120, 160, "plumb_bob")
        np.testing.assert_allclose(info.k, [fx, 0, cx, 0, fy, cy, 0, 0, 1])
        np.testing.assert_allclose(info.p, [fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0])
        np.testing.assert_array_equal(info.r, np.eye(3).ravel())
        assert not any(info.d)


class LargeCamera(Camera):
    size = (480, 640)
    k = (510.0, 530.0, 330.0, 225.0)
    plane = (-0.25, 0.15, 1.0, 3.0)


def test_a_larger_camera_is_scaled_and_best_effort_listeners_hear_it(robot):
    depths, infos, clouds = listeners = listen_to_all(robot, BEST_EFFORT)
    robot.start(k=LargeCamera.k, size=LargeCamera.size, plane=LargeCamera.plane)
    camera = LargeCamera(robot)
    camera.connect(*listeners)
    for count in range(1, 6):
        camera.send()
        robot.wait_until(lambda count=count: all(len(one) == count for one in listeners), "nothing is lost")

    depth, info, cloud = depths[0], infos[0], clouds[0]
    assert nanoseconds(depth) == nanoseconds(info) == nanoseconds(cloud)
    assert (info.height, info.width) == (depth.height, depth.width)
    s_y, s_x = depth.height / 480, depth.width / 640
    assert abs(s_y - s_x) < 0.02  # neither stretched
    assert np.sqrt(510 * 530 * s_x * s_y) == pytest.approx(130, rel=0.05)  # nor far from the training focal length
    fx, fy, cx, cy = camera.k
    k = [fx * s_x, 0, (cx + 0.5) * s_x - 0.5, 0, fy * s_y, (cy + 0.5) * s_y - 0.5, 0, 0, 1]
    np.testing.assert_allclose(info.k, k)
    for cloud in clouds:
        assert distance_to_plane_m(points_of(cloud), camera.plane).max() < 1e-3


def test_millimetres_ranges_and_an_overriding_frame(robot):
    depths, _, clouds = listeners = listen_to_all(robot)
    parameters = {
        "depth_encoding": "16UC1",
        "scale": 1.5,
        "min_range": 2.5,
        "max_range": 4,
        "optical_frame": "override",
        "points.stride": 3,
        "points.color": False,
    }
    robot.start(parameters=parameters)
    camera = Camera(robot)
    camera.connect(*listeners)
    camera.send()
    robot.wait_until(lambda: all(listeners), "one of each")
    depth_mm = np.rint(camera.depth_m() * 1000) * 1.5
    inside = (depth_mm >= 2500) & (depth_mm <= 4000)
    assert inside.any()
    assert not inside.all()
    assert depths[0].encoding == "16UC1"
    np.testing.assert_allclose(depth_of(depths[0]), np.where(inside, depth_mm, 0), atol=1)
    points = points_of(clouds[0])
    np.testing.assert_array_equal(np.isfinite(points).all(axis=-1), inside[1::3, 1::3])
    assert [field.name for field in clouds[0].fields] == ["x", "y", "z"]
    assert {msg.header.frame_id for listener in listeners for msg in listener} == {"override"}


def test_a_camera_that_changes_while_running_is_followed(robot):
    depths, infos, clouds = listeners = listen_to_all(robot)
    robot.start()
    camera = Camera(robot)
    camera.connect(*listeners)

    camera.k = (130.0, 130.0, 70.0, 50.0)  # another calibration
    camera.send_until(lambda: infos and infos[-1].k[2] == 70.0, "the new calibration")
    robot.wait_until(lambda: clouds and nanoseconds(clouds[-1]) == nanoseconds(infos[-1]), "its cloud")
    assert distance_to_plane_m(points_of(clouds[-1]), camera.plane).max() < 1e-3

    camera.size, camera.k = (96, 128), (130.0, 130.0, 60.0, 40.0)  # another resolution
    camera.send_until(lambda: depths[-1].height == 96 and infos[-1].k[2] == 60.0, "the new resolution")
    assert (infos[-1].height, infos[-1].width) == (96, 128)
    robot.wait_until(lambda: clouds and nanoseconds(clouds[-1]) == nanoseconds(infos[-1]), "its cloud")
    assert distance_to_plane_m(points_of(clouds[-1]), camera.plane).max() < 1e-3

    image = camera.image()  # another encoding
    image.encoding = "bgr8"
    image.data[0::3], image.data[2::3] = image.data[2::3], image.data[0::3]
    camera.images.publish(image)
    robot.wait_until(lambda: nanoseconds(depths[-1]) == nanoseconds(image), "the new encoding")
    np.testing.assert_allclose(depth_of(depths[-1]), camera.depth_m(), atol=6e-4)
