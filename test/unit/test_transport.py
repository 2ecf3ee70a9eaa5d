"""The transport profile is given only where it fits and where the user has chosen nothing."""

import shutil
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest

from depth_estimation_ros.transport import (
    LEAST_FREE_BYTES,
    NEW_VARIABLE,
    OLD_VARIABLE,
    PROFILE,
    USERS_VARIABLES,
    provide_transport_profile,
)

NAMESPACE = "{http://www.eprosima.com}"


def free(monkeypatch, free_bytes: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free_bytes))


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ({"ROS_DISTRO": "humble"}, OLD_VARIABLE),
        ({"ROS_DISTRO": "jazzy"}, OLD_VARIABLE),
        ({"ROS_DISTRO": "kilted"}, NEW_VARIABLE),
        ({}, NEW_VARIABLE),
    ],
)
def test_each_generation_of_fast_dds_is_pointed_at_the_profile(monkeypatch, distribution, name):
    free(monkeypatch, LEAST_FREE_BYTES)
    environment = dict(distribution)
    assert provide_transport_profile(environment) is None
    assert environment == {**distribution, name: str(PROFILE)}


@pytest.mark.parametrize("name", USERS_VARIABLES)
def test_what_the_user_set_stays(monkeypatch, name):
    free(monkeypatch, LEAST_FREE_BYTES)
    environment = {name: "mine"}
    assert provide_transport_profile(environment) is None
    assert environment == {name: "mine"}


def test_too_little_shared_memory_is_said_and_nothing_changed(monkeypatch, tmp_path):
    free(monkeypatch, LEAST_FREE_BYTES - 1)
    environment: dict[str, str] = {}
    assert "--shm-size" in (provide_transport_profile(environment) or "")
    monkeypatch.undo()
    assert "cannot be used" in (provide_transport_profile(environment, tmp_path / "none") or "")
    assert environment == {}


def test_the_segment_is_a_quarter_of_what_must_be_free_and_holds_its_messages():
    root = ET.parse(PROFILE).getroot()
    segment = int(root.findtext(f".//{NAMESPACE}segment_size") or 0)
    assert segment * 4 == LEAST_FREE_BYTES
    assert int(root.findtext(f".//{NAMESPACE}maxMessageSize") or 0) < segment
