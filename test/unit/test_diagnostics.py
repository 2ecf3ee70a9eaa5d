"""Levels that mean something, and every number where an operator looks for it."""

from __future__ import annotations

import pytest

from depth_estimation_ros.diagnostics import CameraState, NodeState, judge, judge_all, to_diagnostic_array
from depth_estimation_ros.health import Health

pytest.importorskip("diagnostic_msgs", reason="needs ROS 2, or the ros extra")


def state(**changes) -> NodeState:
    values = {"lifecycle": "active", "active_for_s": 100.0, "failure": None, "facts": {}}
    return NodeState(**{**values, **changes})


def camera(health: Health, name: str = "", **changes) -> CameraState:
    values = {"image_topic": f"/{name or 'front'}/image", "in_flight": 0, "facts": {}}
    return CameraState(name, health.report(), **{**values, **changes})


@pytest.fixture
def health():
    return Health(lambda: 1000.0)


def test_frames_that_come_out_are_ok(health):
    for _ in range(3):
        health.count_received()
        health.count_published(0.01)
    assert judge(state(), camera(health))[0] == "OK"


def test_an_inactive_node_is_ok_and_says_its_state(health):
    assert judge(state(lifecycle="inactive", active_for_s=None), camera(health)) == ("OK", "inactive")


def test_a_failed_transition_is_an_error(health):
    failed = state(lifecycle="unconfigured", active_for_s=None, failure="configure failed: no such model")
    assert judge(failed, camera(health)) == ("ERROR", "configure failed: no such model")


def test_silence_is_a_warning_that_names_the_topic():
    now_s = [1000.0]
    health = Health(lambda: now_s[0])
    health.count_received()
    assert judge(state(), camera(health))[0] == "OK"
    now_s[0] += 3.5
    level, message = judge(state(), camera(health))
    assert level == "WARN"
    assert "/front/image" in message


def test_a_node_that_has_just_become_active_may_be_silent(health):
    assert judge(state(active_for_s=0.5), camera(health))[0] == "OK"
    assert judge(state(active_for_s=5.0), camera(health))[0] == "WARN"


def test_rejecting_everything_is_an_error_and_rejecting_some_a_warning(health):
    health.count_received()
    health.count_rejected("image", "encoding 'x' is unknown")
    level, message = judge(state(), camera(health))
    assert level == "ERROR"
    assert "encoding 'x' is unknown" in message
    health.count_received()
    health.count_published(0.01)
    assert judge(state(), camera(health))[0] == "WARN"


def test_remarks_are_warnings(health):
    health.count_received()
    health.count_published(None)
    health.remark("the stamp is zero")
    assert judge(state(), camera(health)) == ("WARN", "the stamp is zero")


def test_dropping_is_no_fault(health):
    health.count_received()
    health.count_received()
    health.count_dropped()
    health.count_published(0.5)
    assert judge(state(), camera(health))[0] == "OK"


def test_nobody_listening_is_idle():
    now_s = [1000.0]
    health = Health(lambda: now_s[0])
    for _ in range(3):
        health.count_received()
        health.count_unwatched()
        now_s[0] += 0.1
    assert judge(state(), camera(health)) == ("OK", "idle: nobody subscribes to an output")


def test_falling_behind_altogether_is_a_warning_and_not_called_idle():
    now_s = [1000.0]
    health = Health(lambda: now_s[0])
    health.count_received()
    health.count_unwatched()  # long ago, before anybody subscribed
    now_s[0] += 60.0

    def drop_for(seconds: float) -> None:
        for _ in range(int(2 * seconds)):
            health.count_received()
            health.count_dropped()
            now_s[0] += 0.5

    drop_for(4.0)
    assert judge(state(), camera(health))[0] == "OK"  # they may wait for a CameraInfo
    drop_for(2.0)
    level, message = judge(state(), camera(health))
    assert level == "WARN"
    assert "10 images were dropped and no depth came out" in message
    assert judge(state(active_for_s=1.0), camera(health))[0] == "OK"  # the first inference may take its time
    health.count_published(3.0)
    assert judge(state(), camera(health))[0] == "OK"


def test_the_message_holds_all_numbers(health):
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticStatus

    health.count_received()
    health.count_received()
    health.count_published(0.025)
    health.count_rejected("inference", "it failed")
    array = to_diagnostic_array(
        "robot/depth", state(facts={"model": "m"}), [camera(health, in_flight=1, facts={"lens": "l"})], Time(sec=7)
    )
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
    assert (values["model"], values["lens"]) == ("m", "l")
    assert values["last error"] == "it failed"


class Cameras:
    """Three cameras at work; each may be made to fail."""

    def __init__(self):
        self.now_s = 1000.0
        self.healths = {name: Health(lambda: self.now_s) for name in ("front", "left", "right")}

    def pass_frames(self, *names: str) -> None:
        for _ in range(30):
            self.now_s += 0.1
            for name in names:
                self.healths[name].count_received()
                self.healths[name].count_published(0.01)

    @property
    def states(self) -> list[CameraState]:
        return [camera(health, name) for name, health in self.healths.items()]


def test_cameras_that_all_live_are_ok():
    cameras = Cameras()
    cameras.pass_frames("front", "left", "right")
    assert judge_all(state(), cameras.states) == ("OK", "30.0 frames per second from 3 cameras")


@pytest.mark.parametrize("living", [("front", "right"), ("right",)])
def test_dead_cameras_are_a_warning_that_names_each_and_only_them(living):
    cameras = Cameras()
    cameras.pass_frames(*living)
    level, message = judge_all(state(), cameras.states)
    assert level == "WARN"
    assert {name for name in cameras.healths if f"{name}: no image on /{name}/image" in message} == (
        set(cameras.healths) - set(living)
    )


def test_a_node_none_of_whose_cameras_lives_is_an_error():
    cameras = Cameras()
    cameras.pass_frames("front", "left", "right")
    cameras.now_s += 4.0
    assert judge_all(state(), cameras.states)[0] == "ERROR"
    cameras.healths["left"].count_received()
    assert judge_all(state(), cameras.states)[0] == "WARN"
    cameras.now_s += 10.0
    cameras.healths["left"].count_received()
    cameras.healths["left"].count_rejected("image", "its encoding is unknown")
    level, message = judge_all(state(), cameras.states)
    assert level == "ERROR"
    assert "left: every frame rejected lately: its encoding is unknown" in message


def test_several_cameras_are_not_judged_before_they_can_work():
    states = Cameras().states
    assert judge_all(state(lifecycle="inactive", active_for_s=None), states) == ("OK", "inactive")
    assert judge_all(state(active_for_s=None, failure="no model"), states) == ("ERROR", "no model")
    assert judge_all(state(active_for_s=1.0), states)[0] == "OK"


def test_each_camera_has_a_status_of_its_own_beside_the_nodes():
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticStatus

    cameras = Cameras()
    cameras.pass_frames("front", "right")
    array = to_diagnostic_array("depth", state(facts={"model": "m"}), cameras.states, Time())
    statuses = {status.name: status for status in array.status}
    assert {name: status.level for name, status in statuses.items()} == {
        "depth: cameras to depth": DiagnosticStatus.WARN,
        "depth: camera front to depth": DiagnosticStatus.OK,
        "depth: camera left to depth": DiagnosticStatus.WARN,
        "depth: camera right to depth": DiagnosticStatus.OK,
    }
    values = {name: {pair.key: pair.value for pair in status.values} for name, status in statuses.items()}
    assert values["depth: cameras to depth"] == {"state": "active", "model": "m"}
    assert values["depth: camera front to depth"]["received"] == "30"
    assert values["depth: camera left to depth"]["received"] == "0"
    assert statuses["depth: camera left to depth"].hardware_id == "/left/image"
