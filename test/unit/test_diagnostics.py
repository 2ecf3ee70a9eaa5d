"""Levels that mean something, and every number where an operator looks for it."""

from __future__ import annotations

import pytest

from depth_estimation_ros.diagnostics import NodeState, judge, to_diagnostic_array
from depth_estimation_ros.health import Health

pytest.importorskip("diagnostic_msgs", reason="needs ROS 2, or the ros extra")


def state(**changes) -> NodeState:
    values = {
        "lifecycle": "active",
        "active_for_s": 100.0,
        "failure": None,
        "image_topic": "/front/image",
        "in_flight": 0,
        "facts": {},
    }
    return NodeState(**{**values, **changes})


@pytest.fixture
def health():
    return Health(lambda: 1000.0)


def test_frames_that_come_out_are_ok(health):
    for _ in range(3):
        health.count_received()
        health.count_published(0.01)
    assert judge(health.report(), state())[0] == "OK"


def test_an_inactive_node_is_ok_and_says_its_state(health):
    assert judge(health.report(), state(lifecycle="inactive", active_for_s=None)) == ("OK", "inactive")


def test_a_failed_transition_is_an_error(health):
    failed = state(lifecycle="unconfigured", active_for_s=None, failure="configure failed: no such model")
    assert judge(health.report(), failed) == ("ERROR", "configure failed: no such model")


def test_silence_is_a_warning_that_names_the_topic():
    now_s = [1000.0]
    health = Health(lambda: now_s[0])
    health.count_received()
    assert judge(health.report(), state())[0] == "OK"
    now_s[0] += 3.5
    level, message = judge(health.report(), state())
    assert level == "WARN"
    assert "/front/image" in message


def test_a_node_that_has_just_become_active_may_be_silent(health):
    assert judge(health.report(), state(active_for_s=0.5))[0] == "OK"
    assert judge(health.report(), state(active_for_s=5.0))[0] == "WARN"


def test_rejecting_everything_is_an_error_and_rejecting_some_a_warning(health):
    health.count_received()
    health.count_rejected("image", "encoding 'x' is unknown")
    level, message = judge(health.report(), state())
    assert level == "ERROR"
    assert "encoding 'x' is unknown" in message
    health.count_received()
    health.count_published(0.01)
    assert judge(health.report(), state())[0] == "WARN"


def test_remarks_are_warnings(health):
    health.count_received()
    health.count_published(None)
    health.remark("the stamp is zero")
    assert judge(health.report(), state()) == ("WARN", "the stamp is zero")


def test_dropping_is_no_fault(health):
    health.count_received()
    health.count_received()
    health.count_dropped()
    health.count_published(0.5)
    assert judge(health.report(), state())[0] == "OK"


def test_nobody_listening_is_idle():
    now_s = [1000.0]
    health = Health(lambda: now_s[0])
    for _ in range(3):
        health.count_received()
        health.count_unwatched()
        now_s[0] += 0.1
    assert judge(health.report(), state()) == ("OK", "idle: nobody subscribes to an output")


def test_the_message_holds_all_numbers(health):
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticStatus

    health.count_received()
    health.count_received()
    health.count_published(0.025)
    health.count_rejected("inference", "it failed")
    array = to_diagnostic_array("robot/depth", health.report(), state(in_flight=1, facts={"model": "m"}), Time(sec=7))
    (status,) = array.status
    assert array.header.stamp.sec == 7
    assert status.level == DiagnosticStatus.WARN
    assert status.name == "robot/depth: camera to depth"
    values = {pair.key: pair.value for pair in status.values}
    assert values["received"] == "2"
    assert values["published"] == "1"
    assert values["rejected"] == values["rejected: inference"] == "1"
    assert values["in flight"] == "1"
    assert values["stamp to publish p50 (ms)"] == "25.0"
    assert values["model"] == "m"
    assert values["last error"] == "it failed"
