"""An overloaded node drops frames, counts each, and shows the newest."""

from __future__ import annotations

import re
import time

import pytest
from robot_harness import Camera, accounted_for, nanoseconds
from sensor_msgs.msg import Image

DROPPED = "dropped (newer frame came)"


@pytest.fixture
def gate(tmp_path):
    """Inference stands still while this file is missing."""
    gate = tmp_path / "gate"
    gate.touch()
    return gate


def test_behind_a_held_frame_only_the_newest_waits(robot, gate):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start(gate=str(gate))
    camera = Camera(robot)
    camera.connect(depths)
    before = {key: robot.count(key) for key in ("received", "published", DROPPED)}

    gate.unlink()
    sent = []
    for number in range(1, 11):
        sent.append(camera.send())
        expected = before["received"] + number
        robot.wait_until(lambda expected=expected: robot.count("received") == expected, "the frame is received")
        if number == 1:  # it must be in work before the second comes, or the second would replace it
            robot.wait_until(gate.with_suffix(".held").exists, "the frame is in work")
    robot.wait_until(lambda: robot.count(DROPPED) == before[DROPPED] + 8, "all but the first and the last are dropped")
    assert robot.count("in flight") == 2
    assert robot.count("published") == before["published"]
    assert depths == []

    gate.touch()
    robot.wait_until(lambda: robot.count("published") == before["published"] + 2, "the first and the last come out")
    robot.wait_until(lambda: len(depths) >= 2, "both have come")
    robot.wait_until(camera.is_settled, "nothing is left")
    assert [nanoseconds(depth) for depth in depths] == [sent[0], sent[-1]]


def test_under_a_flood_every_frame_is_counted_and_the_last_comes_out(robot, gate):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start(gate=str(gate))
    camera = Camera(robot)
    camera.connect(depths)
    before = {key: robot.count(key) for key in ("received", "published", DROPPED)}
    sent = []
    for number in range(300):
        sent.append(camera.send())
        if number % 10 == 0:
            gate.unlink(missing_ok=True)
        elif number % 10 == 5:
            gate.touch()
        robot.spin(0.002)
    gate.touch()
    robot.wait_until(lambda: depths and nanoseconds(depths[-1]) == sent[-1], "the last frame comes out")
    robot.wait_until(camera.is_settled, "all frames are accounted for")
    published = [nanoseconds(depth) for depth in depths]
    assert published == sorted(set(published))  # none twice, none late
    assert set(published) <= set(sent)
    received, published_count, dropped = (robot.count(key) - before[key] for key in before)
    assert published_count == len(published)
    assert received == published_count + dropped
    assert dropped > 0


def test_frames_nobody_watches_are_not_worked_on(robot, gate):
    robot.start(gate=str(gate))
    gate.unlink()  # inference would never return
    camera = Camera(robot)
    camera.send_until(lambda: robot.count("unwatched (no subscriber)") >= 3, "frames pass unwatched")
    robot.wait_until(camera.is_settled, "all frames are accounted for")
    assert robot.count("published") == robot.count("in flight") == 0


def test_the_network_is_warm_at_the_cameras_size_before_anybody_watches(robot):
    node = robot.start()
    camera = Camera(robot)
    camera.size, camera.k = (480, 640), (300.0, 300.0, 319.5, 239.5)  # a wide lens: more pixels than the native size
    # The first frames may come before the first CameraInfo, and then the native size is the right one for them.
    camera.send_until(lambda: node.output.count("the double is warm") >= 2, "the network is warm at a second size")
    robot.wait_until(camera.is_settled, "all frames are accounted for")
    sizes = re.findall(r"the double is warm at (\d+)x(\d+)", node.output)
    assert sizes[0] == ("120", "160")
    assert robot.count("published") == 0
    depths = robot.listen(Image, "/depth/image_rect")
    camera.connect(depths)
    camera.send()
    robot.wait_until(lambda: depths, "depth")
    assert (depths[0].height, depths[0].width) == tuple(map(int, sizes[1]))
    assert node.output.count("the double is warm") == 2


def test_max_rate_limits_what_is_worked_on(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start(parameters={"max_rate": 4})
    camera = Camera(robot)
    camera.connect(depths)
    before = robot.count("received"), robot.count("published")
    start_s = time.monotonic()
    camera.send_until(lambda: len(depths) >= 5, "five frames come out")
    took_s = time.monotonic() - start_s
    robot.wait_until(camera.is_settled, "all frames are accounted for")
    received, published = robot.count("received") - before[0], robot.count("published") - before[1]
    assert received > published
    assert published <= took_s * 4 + 2
    assert robot.count("limited (max_rate)") > 0
    assert accounted_for(robot) == robot.count("received")
