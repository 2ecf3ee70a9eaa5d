"""The outputs that not everybody wants: each there for who subscribes to it, and no work for anybody else."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from robot_harness import Camera, accounted_for, depth_of, nanoseconds
from sensor_msgs.msg import CameraInfo, Image


class LargeCamera(Camera):
    size = (480, 640)
    k = (510.0, 530.0, 330.0, 225.0)
    plane = (-0.25, 0.15, 1.0, 3.0)


TOPICS = {
    "/depth/color": ("rgb8", 3),
    "/depth/confidence": ("32FC1", 4),
    "/rgb/image_rect": ("rgb8", 3),
    "/depth/image_rect": ("32FC1", 4),
}


def test_each_image_comes_at_the_cameras_size_to_who_subscribes_and_only_then(robot, tmp_path):
    built = tmp_path / "built"
    settings = {"k": LargeCamera.k, "size": LargeCamera.size, "plane": LargeCamera.plane}
    robot.start(parameters={"output_size": "camera"}, sigma=0.2, built=str(built), **settings)
    camera = LargeCamera(robot)
    images: dict[str, list] = {}
    for topic in TOPICS:
        images[topic] = robot.listen(Image, topic)
        camera.connect(*images.values())
        assert set(built.read_text().split()) == {heard.removeprefix("/") for heard in images}
    infos, rgb_infos = robot.listen(CameraInfo, "/depth/camera_info"), robot.listen(CameraInfo, "/rgb/camera_info")
    camera.connect(infos, rgb_infos, *images.values())
    assert "depth/points" not in built.read_text()

    sent = camera.send()

    def of_this_frame(messages: list) -> list:
        return [msg for msg in messages if nanoseconds(msg) == sent]

    robot.wait_until(lambda: all(map(of_this_frame, [infos, rgb_infos, *images.values()])), "one of each")
    for topic, (encoding, pixel_bytes) in TOPICS.items():
        [msg] = of_this_frame(images[topic])
        assert (msg.encoding, msg.height, msg.width, msg.step) == (encoding, 480, 640, 640 * pixel_bytes), topic
        assert msg.header.frame_id == "camera_optical", topic
    [info] = of_this_frame(infos)
    assert of_this_frame(rgb_infos) == [info]
    assert (info.height, info.width) == (480, 640)
    fx, fy, cx, cy = camera.k
    np.testing.assert_allclose(info.k, [fx, 0, cx, 0, fy, cy, 0, 0, 1])

    colours, confidence, rgb, depth = (of_this_frame(images[topic])[0] for topic in TOPICS)
    depth_m = depth_of(depth)
    inside = np.s_[4:-4, 4:-4]  # half a network pixel and more
    np.testing.assert_allclose(depth_m[inside], camera.depth_m()[inside], rtol=1e-4)
    assert rgb.data == camera.image().data
    error = NormalDist(0, 0.2)
    within = error.cdf(math.log(1.25)) - error.cdf(-math.log(1.25))
    np.testing.assert_allclose(depth_of(confidence), within, atol=1e-5)
    colour = np.frombuffer(colours.data, np.uint8).reshape(480, 640, 3)
    # As many colours as the scale of 0 to 10 m has between the plane's nearest and farthest point.
    levels = np.ptp(np.rint(camera.depth_m()[inside] / 10 * 255).astype(int)) + 1
    assert abs(len(np.unique(colour.reshape(-1, 3), axis=0)) - levels) <= 2


def test_without_confidence_the_topic_is_silent_and_a_remark_says_why(robot):
    process = robot.start()
    camera = Camera(robot)
    confidences = robot.listen(Image, "/depth/confidence")
    depths = robot.listen(Image, "/depth/image_rect")
    camera.connect(depths)
    camera.send_until(lambda: robot.says(DiagnosticStatus.WARN, "gives no confidence"), "the remark")
    camera.send_until(lambda: len(depths) > 5, "depth all the same")
    robot.wait_until(lambda: accounted_for(robot) == robot.count("received"), "all is accounted for")
    assert not confidences
    assert robot.count("rejected") == 0
    assert process.output.count("gives no confidence") == 1
    assert robot.node.get_publishers_info_by_topic("/depth/confidence")


def test_confidence_alone_without_confidence_is_an_error_with_the_true_reason(robot):
    robot.listen(Image, "/depth/confidence")
    robot.start(first_wait_s=0.0)
    camera = Camera(robot)
    # Without CameraInfo either, which is not why this output does not come.
    camera.send_until(
        lambda: robot.says(DiagnosticStatus.ERROR, "every frame rejected lately", "model gives no confidence"),
        "the reason",
        with_info=False,
    )
    assert "CameraInfo" not in (robot.value("last error") or "")
    robot.wait_until(lambda: accounted_for(robot) == robot.count("received"), "all is accounted for")
    assert robot.count("rejected: model") == robot.count("rejected") > 0
