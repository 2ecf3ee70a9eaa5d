"""The transport profile is given only where it fits and where the user has chosen nothing."""

import fcntl
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros import transport_profile
from depth_estimation_ros.transport import (
    FRAMES_ON_THE_WAY,
    FULL_BYTES,
    LEAST_BYTES,
    MEGABYTE,
    NEW_VARIABLE,
    OLD_VARIABLE,
    USERS_FILES,
    USERS_VARIABLES,
    profile_xml,
    provide_transport_profile,
    size_segment,
)

NAMESPACE = "{http://www.eprosima.com}"


def free(monkeypatch, free_bytes: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free_bytes))


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Where a user without a profile of their own starts the node."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sizes(text: str) -> tuple[int, int]:
    """The segment and the greatest message, as Fast DDS reads them."""
    root = ET.fromstring(text)
    return tuple(int(root.findtext(f".//{NAMESPACE}{name}") or 0) for name in ("segment_size", "maxMessageSize"))


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ({"ROS_DISTRO": "humble"}, OLD_VARIABLE),
        ({"ROS_DISTRO": "jazzy"}, OLD_VARIABLE),
        ({"ROS_DISTRO": "kilted"}, NEW_VARIABLE),
        ({}, NEW_VARIABLE),
    ],
)
def test_each_generation_of_fast_dds_is_pointed_at_the_profile(monkeypatch, home, distribution, name):
    free(monkeypatch, 10**12)
    given_environment = {"ROS_HOME": str(home / "ros"), **distribution}
    environment = dict(given_environment)
    assert provide_transport_profile(environment, home) is None
    file = Path(environment.pop(name))
    assert environment == given_environment
    assert sizes(file.read_text())[0] >= FULL_BYTES


@pytest.mark.parametrize(
    ("given_environment", "is_local"),
    [
        ({"ROS_DISTRO": "humble", "ROS_LOCALHOST_ONLY": "1"}, True),
        ({"ROS_DISTRO": "humble", "ROS_LOCALHOST_ONLY": "0"}, False),
        ({"ROS_DISTRO": "humble"}, False),
        ({"ROS_DISTRO": "jazzy", "ROS_LOCALHOST_ONLY": "1"}, False),  # which restricts whatever transports there are
    ],
)
def test_humble_stays_on_this_machine_where_the_user_wants_it(monkeypatch, home, given_environment, is_local):
    free(monkeypatch, 10**12)
    environment = {"ROS_HOME": str(home / "ros"), **given_environment}
    assert provide_transport_profile(environment, home) is None
    root = ET.parse(environment[OLD_VARIABLE]).getroot()
    addresses = [element.text for element in root.iter(f"{NAMESPACE}address")]
    assert addresses == (["127.0.0.1"] if is_local else [])
    assert {element.text for element in root.iter(f"{NAMESPACE}type")} == {"SHM", "UDPv4"}


@pytest.mark.parametrize("name", USERS_VARIABLES)
def test_what_the_user_set_stays(home, name):
    environment = {name: "mine", "ROS_HOME": str(home / "ros")}
    assert provide_transport_profile(environment, home) is None
    assert environment == {name: "mine", "ROS_HOME": str(home / "ros")}
    assert not (home / "ros").exists()


@pytest.mark.parametrize("name", USERS_FILES)
def test_a_profile_that_fast_dds_finds_by_itself_stays(home, name):
    (home / name).touch()
    environment = {"ROS_HOME": str(home / "ros")}
    assert provide_transport_profile(environment, home) is None
    assert set(environment) == {"ROS_HOME"}


@given(free_bytes=st.integers(0, 2**40), wanted_bytes=st.integers(1, 2**32))
def test_the_segment_is_what_is_wanted_within_a_quarter_of_what_is_free(free_bytes, wanted_bytes):
    with pytest.MonkeyPatch.context() as patch:
        free(patch, free_bytes)
        sized = size_segment(wanted_bytes=wanted_bytes)
    wanted_bytes = max(wanted_bytes, LEAST_BYTES)
    assert sized.segment_bytes <= free_bytes / 4
    assert sized.segment_bytes < wanted_bytes + MEGABYTE
    if sized.remark is None:
        assert sized.segment_bytes >= LEAST_BYTES
        assert sized.segment_bytes > min(wanted_bytes, free_bytes / 4) - MEGABYTE
    else:
        assert sized.segment_bytes == 0
    segment, message = sizes(profile_xml(sized.segment_bytes))
    assert segment == sized.segment_bytes
    assert 0 <= message < max(segment, 1)


def test_too_little_shared_memory_is_said_and_nothing_changed(monkeypatch, home):
    free(monkeypatch, 4 * MEGABYTE)
    environment = {"ROS_HOME": str(home / "ros")}
    remark = provide_transport_profile(environment, home) or ""
    assert "4 MB free" in remark
    assert "8 MB are needed at least" in remark
    assert "--shm-size" in remark
    monkeypatch.undo()
    assert "cannot be used" in (provide_transport_profile(environment, home / "none") or "")
    assert set(environment) == {"ROS_HOME"}
    assert not (home / "ros").exists()


def test_a_home_that_cannot_be_written_to_is_said_and_nothing_changed(monkeypatch, home):
    free(monkeypatch, 10**12)
    (home / "ros").touch()
    environment = {"ROS_HOME": str(home / "ros")}
    assert "set ROS_HOME" in (provide_transport_profile(environment, home) or "")
    assert set(environment) == {"ROS_HOME"}


def test_starts_share_one_file_and_one_that_was_cut_short_is_written_anew(monkeypatch, home):
    free(monkeypatch, 10**12)
    ros = home / "ros"
    for _ in range(3):
        assert provide_transport_profile({"ROS_HOME": str(ros)}, home) is None
    (file,) = [path for path in ros.rglob("*") if path.is_file()]
    whole = file.read_text()
    file.write_text(whole[:100])
    assert provide_transport_profile({"ROS_HOME": str(ros)}, home) is None
    assert [path.read_text() for path in ros.rglob("*") if path.is_file()] == [whole]


def test_the_segment_holds_all_outputs_of_full_size():
    """Counted from the messages themselves."""
    pytest.importorskip("sensor_msgs.msg", reason="needs ROS 2, or the ros extra")
    from std_msgs.msg import Header

    from depth_estimation_ros.images import depth_to_message, float_to_message, rgb_to_message
    from depth_estimation_ros.point_cloud import cloud_message

    def frame_bytes(size: tuple[int, int], cloud_size: tuple[int, int], stride: int) -> int:
        depth_m, rgb = np.ones(size, np.float32), np.zeros((*size, 3), np.uint8)
        images = [depth_to_message(depth_m, "32FC1", Header()), float_to_message(depth_m, Header())]
        images += [rgb_to_message(rgb, Header())] * 2  # depth/color and rgb/image_rect
        cloud = cloud_message(np.ones(cloud_size, np.float32), np.eye(3), Header(), stride=stride)
        return sum(len(message.data) for message in (*images, cloud))

    assert frame_bytes((480, 640), (480, 640), 1) * FRAMES_ON_THE_WAY == FULL_BYTES
    # Two frames are what it takes at least: the one that is sent, and the one that is read.
    assert frame_bytes((720, 1280), (240, 320), 2) * 2 <= FULL_BYTES


@pytest.mark.parametrize("prefix", ["fastdds", "fastrtps"])
def test_segments_of_the_dead_go_and_those_of_the_living_stay(monkeypatch, home, prefix):
    free(monkeypatch, 10**12)
    dead, living, new, port = (
        f"{prefix}_{name}" for name in ("0123456789abcdef", "1123456789abcdef", "2123456789abcdef", "port7000")
    )
    for name in (dead, f"{dead}_el", living, f"{living}_el", f"{new}_el", port, f"{port}_el", "notes_el"):
        (home / name).write_bytes(b"memory")
    with (home / f"{living}_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert provide_transport_profile({"ROS_HOME": str(home / "ros")}, home) is None
    left = {path.name for path in home.iterdir() if path.is_file()}
    assert left == {living, f"{living}_el", f"{new}_el", port, f"{port}_el", "notes_el"}


def test_the_command_prints_what_a_driver_needs_or_says_why_not(monkeypatch, capsys):
    free(monkeypatch, 10**12)
    assert transport_profile.main(["--message-mb", "6.3"]) == 0
    segment, message = sizes(capsys.readouterr().out)
    assert segment >= FRAMES_ON_THE_WAY * 6_300_000
    assert 6_300_000 < message < segment
    assert transport_profile.main([]) == 0
    assert sizes(capsys.readouterr().out)[0] >= FULL_BYTES
    free(monkeypatch, 20 * MEGABYTE)
    for arguments, words in (([], "9.2 MB does not fit"), (["--message-mb", "33.2"], "free 127 MB")):
        assert transport_profile.main(arguments) == 1
        said = capsys.readouterr()
        assert words in said.err
        assert not said.out


@pytest.mark.parametrize("value", ["0", "-1", "inf", "much"])
def test_the_command_refuses_a_size_that_is_none(capsys, value):
    with pytest.raises(SystemExit) as ended:
        transport_profile.main(["--message-mb", value])
    assert ended.value.code == 2
    assert value in capsys.readouterr().err
