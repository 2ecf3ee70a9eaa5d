"""Every rule the demo's listener judges by can be broken, is then named, and is named alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from faulty_node import messages
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depth_estimation_ros.demo.checks import in_words, read_depth, stream_problems
from depth_estimation_ros.demo.recording import Recording, SentImage
from depth_estimation_ros.demo.witness import Witness


def verdict(folder: Path, fault: str) -> list[str]:
    recording = Recording(folder)
    witness = Witness(recording)
    for index in range(3):
        stamp = Time(sec=10 + index, nanosec=500)
        recording.write_sent(SentImage(index, stamp.sec * 10**9 + stamp.nanosec, "camera"))
        for message in messages(fault, Header(stamp=stamp, frame_id="camera")):
            if isinstance(message, Image):
                witness.take_depth(message, arrival_ns=(11 + index) * 10**9)
            elif isinstance(message, CameraInfo):
                witness.take_info(message)
            else:
                witness.take_cloud(message)
    return in_words(witness.problems())


def test_nothing_is_wrong_with_what_is_right(tmp_path: Path) -> None:
    assert verdict(tmp_path, "none") == []


@pytest.mark.parametrize(
    ("fault", "rules"),
    {
        "zeros": ["depth is never a false zero"],
        "negative": ["finite depth is positive"],
        "empty": ["depth image holds at least one depth", "cloud holds at least one point"],
        "encoding": ["depth encoding is 32FC1 or 16UC1"],
        "short": ["depth image has step * height bytes"],
        "stamp": ["depth/image_rect has the stamp of a sent image", "a depth image has a camera_info of its stamp"],
        "frame": ["depth/points has the camera's frame_id"],
        "twice": ["depth/image_rect comes once for an image"],
        "depth_missing": ["depth/image_rect arrives"],
        "info_missing": ["depth/camera_info arrives", "a depth image has a camera_info of its stamp"],
        "info_size": ["camera_info has the depth's size"],
        "info_p": ["camera_info has K = P[:, :3], R = I, P[3] = 0"],
        "info_r": ["camera_info has K = P[:, :3], R = I, P[3] = 0"],
        "distortion": ["camera_info has no distortion, binning or region"],
        "binning": ["camera_info has no distortion, binning or region"],
        "cloud_missing": ["depth/points arrives"],
        "unorganized": ["cloud is organized"],
        "fields": ["cloud has float32 fields x, y, z"],
        "cloud_short": ["cloud's steps and data agree"],
        "dense": ["cloud says is_dense false"],
        "half_a_point": ["cloud's points are finite or all NaN"],
        "infinite_point": ["cloud's points are finite or all NaN"],
        "behind": ["cloud's points lie before the camera"],
        "zero_point": ["cloud's points lie before the camera"],
        "alpha": ["cloud colour's top byte is 0"],
        "off_the_pixels": ["cloud's points project onto depth pixels"],
        "another_depth": ["cloud and depth image agree"],
    }.items(),
)
def test_a_broken_rule_is_named_and_nothing_else(tmp_path: Path, fault: str, rules: list[str]) -> None:
    found = {line.split(": ", 1)[1].split(" (first: ")[0] for line in verdict(tmp_path, fault)}
    assert found == set(rules)


def test_an_older_image_after_a_newer_one_is_noticed() -> None:
    sent = {stamp: SentImage(stamp, stamp, "camera") for stamp in (1, 2, 3)}
    assert stream_problems("depth", [(1, "camera"), (2, "camera"), (3, "camera")], sent) == []
    (problem,) = stream_problems("depth", [(1, "camera"), (3, "camera"), (2, "camera")], sent)
    assert problem.rule == "depth comes in the order of the images"


def test_millimetres_and_padded_rows_are_read() -> None:
    rows = np.array([[1500, 0, 7], [65535, 1, 9]], "<u2")  # the last column is padding
    image = Image(height=2, width=2, encoding="16UC1", step=6)
    image.data.frombytes(rows.tobytes())
    depth_m, problems = read_depth(image)
    assert problems == []
    assert depth_m is not None
    np.testing.assert_allclose(depth_m, [[1.5, np.nan], [65.535, 0.001]], rtol=1e-6)
