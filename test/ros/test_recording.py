"""A recording is replayed through the node, and starts over as with `ros2 bag play --loop --clock`."""

from __future__ import annotations

import re
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import deserialize_message
from robot_harness import Camera, depth_of, nanoseconds, points_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_estimation_ros.camera_info_buffer import KEPT
from depth_estimation_ros.demo.bag import IMAGE, INFO, TRUTH, main, write_bag
from depth_estimation_ros.demo.frames import SourceFrame, pinhole
from depth_estimation_ros.demo.room import camera_path, cast_rays
from depth_estimation_ros.demo.room_layout import build_room

pytest.importorskip("rosbags", reason="needs the test extra")

START_NS = 5_000 * 10**9
PERIOD_NS = 10**9 // 2
LATENCY_NS = 30_000_000
FRAMES = KEPT + 2
PATIENT_OWN_WAIT_S = 0.25
"""For its own CameraInfo: after a wait in vain the node would not wait any more."""

TYPES = {IMAGE: Image, INFO: CameraInfo}


def to_time(ns: int) -> Time:
    return Time(sec=ns // 10**9, nanosec=ns % 10**9)


def plane(number: int) -> tuple[float, float, float, float]:
    return (0.2, -0.3, 1.0, 2.0 + number / 4)


def principal_point_px(number: int) -> float:
    """The camera is calibrated anew in the middle of the recording."""
    return 79.5 if number < FRAMES // 2 else 70.0


def record(path: Path, camera: Camera) -> None:
    """Frames of known planes; each image is written a moment before its CameraInfo."""
    frames = []
    for number in range(FRAMES):
        camera.plane, camera.k = plane(number), (130.0, 130.0, principal_point_px(number), 59.5)
        image_rgb = np.frombuffer(camera.image().data, np.uint8).reshape(*camera.size, 3)
        frames.append(SourceFrame(str(number), image_rgb, pinhole(*camera.k)))
    assert write_bag(path, frames, 1e9 / PERIOD_NS, START_NS) == FRAMES


def frames_of(path: Path) -> list[list[tuple[str, object]]]:
    """Topic and message of all that was recorded, frame by frame."""
    from rosbags.rosbag2 import Reader

    frames: list[list[tuple[str, object]]] = []
    with Reader(path) as reader:
        for connection, _, data in reader.messages():
            if connection.topic == IMAGE:
                frames.append([])
            frames[-1].append((connection.topic, deserialize_message(bytes(data), TYPES[connection.topic])))
    return frames


class Player:
    """Publishes a recording and its clock; a frame is played once the one before it has come out."""

    def __init__(self, robot, camera: Camera):
        self._robot = robot
        self._publishers = {IMAGE: camera.images, INFO: camera.infos}
        self._clock = robot.node.create_publisher(Clock, "/clock", 10)
        self._node_stamps_ns: list[int] = []
        robot.node.create_subscription(
            DiagnosticArray, "/diagnostics", lambda msg: self._node_stamps_ns.append(nanoseconds(msg)), 100
        )

    def set_clock(self, now_ns: int) -> None:
        """The node's diagnostics are stamped by its clock, which says when it has heard."""

        def told_and_heard() -> bool:
            if self._node_stamps_ns[-1:] == [now_ns]:
                return True
            self._clock.publish(Clock(clock=to_time(now_ns)))  # again: it is best effort
            until_s = monotonic() + 0.2
            while monotonic() < until_s and self._node_stamps_ns[-1:] != [now_ns]:
                self._robot.spin()
            return False

        self._robot.wait_until(told_and_heard, "the node's clock is set")

    def play(self, messages: list[tuple[str, object]]) -> int:
        for topic, message in messages:
            self._publishers[topic].publish(message)
        return nanoseconds(messages[0][1])


def test_a_recording_that_loops_gives_the_clouds_that_were_recorded(robot, tmp_path):
    clouds, infos = robot.listen(PointCloud2, "/depth/points"), robot.listen(CameraInfo, "/depth/camera_info")
    camera = Camera(robot)
    record(tmp_path / "recording", camera)
    assert list((tmp_path / "recording").glob("*.mcap"))
    frames = frames_of(tmp_path / "recording")
    assert [len(frame) for frame in frames] == [2] * FRAMES

    parameters = {"use_sim_time": True, "points.stride": 1, "points.color": False}
    node = robot.start(parameters=parameters, first_wait_s=3600, own_wait_s=PATIENT_OWN_WAIT_S)
    player = Player(robot, camera)
    robot.wait_until(lambda: robot.statuses, "diagnostics")
    player.set_clock(START_NS + LATENCY_NS)
    robot.wait_until(lambda: robot.node.count_subscribers("/clock") and camera.images.get_subscription_count(), "ears")

    def plays_until_connected() -> bool:
        player.play(frames[0])
        for _ in range(10):
            robot.spin()
        return bool(clouds and infos)

    robot.wait_until(plays_until_connected, "the first cloud")
    robot.wait_until(camera.is_settled, "all frames are accounted for")
    robot.wait_until(lambda: camera.is_quiet([clouds, infos]), "the last of them has come")

    for loop in range(3):
        clouds.clear()
        infos.clear()
        for number, frame in enumerate(frames):
            starts_over = loop > 0 and number == 0
            if not starts_over:
                player.set_clock(START_NS + number * PERIOD_NS + LATENCY_NS)
            stamp_ns = player.play(frame[:1])
            if starts_over:
                pause_until_s = monotonic() + 2 * PATIENT_OWN_WAIT_S  # the end's calibration must not do meanwhile
                robot.wait_until(lambda end_s=pause_until_s: monotonic() > end_s, "the CameraInfo is late")
                assert len(clouds) == 0
            player.play(frame[1:])
            robot.wait_until(
                lambda count=number: len(clouds) > count and len(infos) > count, f"frame {number} of loop {loop}"
            )
            assert nanoseconds(clouds[-1]) == nanoseconds(infos[-1]) == stamp_ns
            # Its own calibration: not the one of the end, which a recording that starts over has shown last.
            assert infos[-1].k[2] == principal_point_px(number)
            points, normal = points_of(clouds[-1]), np.array(plane(number)[:3])
            assert points.shape == (120, 160, 3)
            off_plane_m = np.abs(points @ normal - plane(number)[3]) / np.linalg.norm(normal)
            assert off_plane_m.max() < 1e-3
            if starts_over:  # the clock is heard after the image: by the old one, this image is four seconds late
                player.set_clock(START_NS + LATENCY_NS)
    robot.wait_until(camera.is_settled, "the last frame is accounted for")
    for quantile in ("p50", "p99"):
        assert float(robot.values[f"stamp to publish {quantile} (ms)"]) == pytest.approx(LATENCY_NS / 1e6)
    assert robot.says(DiagnosticStatus.OK), robot.statuses[-1].message
    assert robot.count("rejected") == 0
    assert not re.search("WARN|ERROR", node.output)


def test_the_rooms_recording_holds_its_images_their_truth_and_the_camera(tmp_path, capsys):
    from rosbags.rosbag2 import Reader

    assert main(["--frames", "2", "--output", str(tmp_path / "room")]) == 0
    assert "2 frames" in capsys.readouterr().out
    with Reader(tmp_path / "room") as reader:
        heard = {
            (connection.topic, stamp_ns // 10**8): deserialize_message(
                bytes(data), CameraInfo if connection.topic == INFO else Image
            )
            for connection, stamp_ns, data in reader.messages()
        }
    k = np.array([[518.8579 / 2, 0, 162.5412], [0, 519.4696 / 2, 126.6181], [0, 0, 1]])
    for number in range(2):
        image, info, depth = (heard[topic, 10 + number] for topic in (IMAGE, INFO, TRUTH))
        assert nanoseconds(image) == nanoseconds(info) == nanoseconds(depth) == (10 + number) * 10**8
        assert (image.height, image.width, info.height, info.width) == (480, 640, 480, 640)
        truth_m = cast_rays(build_room(), camera_path(float(number)), k, 240, 320).depth_m
        # Rays through every fourth corner of the larger picture's pixels lie between its own.
        assert np.median(np.abs(depth_of(depth)[::2, ::2] / truth_m - 1)) < 0.01
        assert info.k[0] == pytest.approx(518.8579)
    assert main(["--frames", "2", "--output", str(tmp_path / "room")]) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("view", ["0", "200", "nan", "wide"])
def test_a_view_that_no_camera_has_is_refused_before_anything_is_written(tmp_path, capsys, view):
    with pytest.raises(SystemExit) as ended:
        main(["--output", str(tmp_path / "room"), "--hfov-deg", view])
    assert ended.value.code == 2
    assert f"'{view}' is not a number from 1 to 179" in capsys.readouterr().err
    assert not (tmp_path / "room").exists()
