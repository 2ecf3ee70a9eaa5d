"""The service calls of a lifecycle manager, and what a failed configure leaves behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.duration import Duration
from robot_harness import PATIENCE_S, Camera, NodeProcess, nanoseconds
from sensor_msgs.msg import CameraInfo, Image

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE, SHUTDOWN = (
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
)


def change_state(robot, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return robot.call(ChangeState, "/depth_estimation/change_state", request).success


def state(robot) -> str:
    return robot.call(GetState, "/depth_estimation/get_state", GetState.Request()).current_state.label


def set_text(robot, name: str, value: str):
    parameter = Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value))
    return robot.call(
        SetParameters, "/depth_estimation/set_parameters", SetParameters.Request(parameters=[parameter])
    ).results[0]


def logged_once(node: NodeProcess, *words: str) -> bool:
    lines = [line for line in node.output.splitlines() if all(word in line for word in words)]
    return len(lines) == 1


def test_bring_up_by_service_calls_twice_and_shutdown(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start(parameters={"autostart": False})
    camera = Camera(robot)
    robot.wait_for_state("unconfigured")
    for _ in range(2):
        assert change_state(robot, CONFIGURE)
        robot.wait_for_state("inactive")
        assert robot.values["model"] == "plane double"
        assert camera.images.get_subscription_count() == 0
        assert change_state(robot, ACTIVATE)
        assert state(robot) == "active"
        camera.connect(depths)
        assert change_state(robot, DEACTIVATE)
        robot.wait_for_state("inactive")
        robot.wait_until(lambda: camera.images.get_subscription_count() == 0, "the subscription is gone")
        assert change_state(robot, ACTIVATE)
        camera.connect(depths)
        assert change_state(robot, DEACTIVATE)
        assert change_state(robot, CLEANUP)
        robot.wait_for_state("unconfigured")
        assert robot.value("model") is None
        robot.wait_until(lambda: robot.node.count_publishers("/depth/image_rect") == 0, "the outputs are gone")
    assert change_state(robot, SHUTDOWN)
    robot.wait_for_state("finalized")


def test_every_step_of_a_lifecycle_manager_answers_with_its_state(robot):
    """The calls that nav2's manager makes to bring up, pause, resume, reset and shut down."""
    robot.start(parameters={"autostart": False})
    assert state(robot) == "unconfigured"
    steps = [
        (CONFIGURE, "inactive"),
        (ACTIVATE, "active"),
        (DEACTIVATE, "inactive"),
        (ACTIVATE, "active"),
        (DEACTIVATE, "inactive"),
        (CLEANUP, "unconfigured"),
        (CONFIGURE, "inactive"),
        (CLEANUP, "unconfigured"),
        (SHUTDOWN, "finalized"),
    ]
    for transition, reached in steps:
        assert change_state(robot, transition)
        assert state(robot) == reached


@pytest.mark.parametrize(
    ("steps", "shutdown"),
    [
        ((CONFIGURE,), Transition.TRANSITION_INACTIVE_SHUTDOWN),
        ((CONFIGURE, ACTIVATE), Transition.TRANSITION_ACTIVE_SHUTDOWN),
    ],
    ids=["inactive", "active"],
)
def test_shutdown_leaves_no_topic_behind_whatever_the_state(robot, steps, shutdown):
    robot.start(parameters={"autostart": False})
    for transition in steps:
        assert change_state(robot, transition)
    assert change_state(robot, shutdown)
    assert state(robot) == "finalized"
    node = robot.node
    robot.wait_until(lambda: node.count_publishers("/depth/image_rect") == 0, "the outputs are gone")
    robot.wait_until(lambda: node.count_subscribers("/image") == 0, "the subscription is gone")


@pytest.mark.parametrize(("name", "value"), [("model", "other"), ("device", "cuda")])
def test_model_and_device_change_on_the_next_configure_and_say_so(robot, name, value):
    node = robot.start(parameters={"autostart": False, "device": "cpu"})
    assert change_state(robot, CONFIGURE)
    assert change_state(robot, ACTIVATE)
    assert set_text(robot, name, value).successful
    robot.wait_until(lambda: logged_once(node, f"{name} takes effect on the next configure"), "it says when")
    assert change_state(robot, DEACTIVATE)
    assert change_state(robot, ACTIVATE)
    assert change_state(robot, DEACTIVATE)
    assert change_state(robot, CLEANUP)
    assert loads(node) == [("default", "cpu")]
    assert change_state(robot, CONFIGURE)
    changed = {"model": "default", "device": "cpu", name: value}
    assert loads(node) == [("default", "cpu"), (changed["model"], changed["device"])]


def loads(node: NodeProcess) -> list[tuple[str, str]]:
    """What the double was loaded as, and on which device, in order."""
    return re.findall(r"^the double is loaded as (\S+) on (\S+)$", node.output, re.MULTILINE)


def test_a_failed_configure_can_be_retried(robot):
    node = robot.start(parameters={"autostart": False, "model": "missing"})
    robot.wait_for_state("unconfigured")
    for _ in range(2):
        assert not change_state(robot, CONFIGURE)
        robot.wait_for_status(DiagnosticStatus.ERROR, "configure failed", "model 'missing' does not exist")
        robot.wait_for_state("unconfigured")
    assert set_text(robot, "model", "other").successful
    assert change_state(robot, CONFIGURE)
    robot.wait_for_status(DiagnosticStatus.OK, "inactive")
    assert set_text(robot, "model", "missing").successful
    robot.wait_until(lambda: logged_once(node, "model takes effect on the next configure"), "it says when")
    assert change_state(robot, ACTIVATE)


def test_a_transition_that_makes_no_sense_changes_nothing(robot):
    robot.start()
    robot.wait_for_state("active")
    assert not change_state(robot, CONFIGURE)
    assert state(robot) == "active"


def test_diagnostics_speak_while_a_model_is_loading(robot):
    robot.start(load_s=3600)
    robot.wait_for_state("configuring")


WRONG_VALUES = {
    "max_range": ("far", "max_range is 'far'"),
    "points.stride": (0, "points.stride is 0"),
    "points.max_range": (2000, "points.max_range is 2000"),
    "num_threads": (2.0, "num_threads is 2.0"),
    "scale": (".nan", "scale is nan"),
    "backend": ("tensorflow", "backend is 'tensorflow'"),
    "points.color": (1, "points.color is 1"),
    "autostart": ("maybe", "autostart is 'maybe'"),
    "cameras": ("[front, front]", "cameras is ['front', 'front']"),
}


def test_wrong_parameters_end_with_one_sentence_that_names_all_and_status_1(robot):
    node = robot.start("real", parameters={name: value for name, (value, _) in WRONG_VALUES.items()})
    assert node.exit_status() == 1
    words = [words for _, words in WRONG_VALUES.values()]
    assert logged_once(node, "[ERROR]", "configure failed", *words), node.output


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"min_range": 5.0, "max_range": 4}, "min_range is 5 and max_range 4"),
        ({"model": "/no/such/model.onnx"}, "/no/such/model.onnx"),
        ({"model": "no_such_name"}, "no_such_name"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"cameras": "[front, left]", "optical_frame": "eye"}, "optical_frame is 'eye' and there are 2 cameras"),
    ],
    ids=["ranges", "path", "name", "device", "frame"],
)
def test_what_cannot_be_configured_ends_with_one_sentence_and_status_1(robot, parameters, words):
    node = robot.start("real", parameters=parameters)
    assert node.exit_status() == 1
    assert logged_once(node, "[ERROR]", "configure failed", words), node.output


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"\x08\x07\x12\x04half"], ids=["empty", "foreign", "truncated"]
)
def test_broken_model_files_end_with_one_sentence_and_status_1(robot, tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    node = robot.start("real", parameters={"model": path})
    assert node.exit_status() == 1
    assert logged_once(node, "[ERROR]", "configure failed", str(path)), node.output


def test_unreadable_ros_arguments_end_with_one_sentence_and_status_1(robot, tmp_path):
    node = robot.start("real", extra=("--params-file", str(tmp_path / "none.yaml")))
    assert node.exit_status() == 1
    assert logged_once(node, "depth_estimation cannot run", "none.yaml")


BONDPY = """
class Bond:
    def __init__(self, node, topic, bond_id):
        from std_msgs.msg import String

        self.node, self.id = node, bond_id
        self.pub = node.create_publisher(String, topic, 1)

    def start(self):
        import os, time
        from std_msgs.msg import String

        while not os.path.exists(os.environ.get("BOND_GATE", "/")):
            time.sleep(0.01)
        self.sub = self.node.create_subscription(String, self.pub.topic_name, lambda msg: None, 1)

    def shutdown(self):
        self.sub.destroy()
        self.pub.destroy()
"""


def install_bondpy(robot, folder) -> None:
    package = folder / "bondpy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bondpy.py").write_text(BONDPY)  # the interface of the real one, whose messages PyPI does not have
    robot.set_environment(PYTHONPATH=os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def test_a_managed_node_keeps_a_bond_while_it_is_active(robot, tmp_path):
    install_bondpy(robot, tmp_path)
    robot.start(parameters={"autostart": False})
    for _ in range(2):
        assert change_state(robot, CONFIGURE)
        assert robot.node.count_publishers("/bond") == 0
        assert change_state(robot, ACTIVATE)
        robot.wait_until(lambda: robot.node.count_publishers("/bond") == 1, "the bond is there")
        assert change_state(robot, DEACTIVATE)
        robot.wait_until(lambda: robot.node.count_publishers("/bond") == 0, "the bond is gone")
        assert change_state(robot, CLEANUP)


def test_no_camera_info_is_lost_while_the_node_is_busy(robot, tmp_path):
    infos = robot.listen(CameraInfo, "/depth/camera_info")
    install_bondpy(robot, tmp_path)
    robot.set_environment(BOND_GATE=str(tmp_path / "gate"))
    robot.start(parameters={"autostart": False})
    camera = Camera(robot)
    assert change_state(robot, CONFIGURE)
    client = robot.node.create_client(ChangeState, "/depth_estimation/change_state")
    activation = client.call_async(ChangeState.Request(transition=Transition(id=ACTIVATE)))  # which waits at the gate
    robot.wait_until(
        lambda: camera.images.get_subscription_count() and camera.infos.get_subscription_count(), "the subscriptions"
    )
    camera.k = (130.0, 130.0, 70.0, 59.5)
    sent = camera.send()
    for principal_px in (71.0, 72.0, 73.0, 74.0):
        camera.k = (130.0, 130.0, principal_px, 59.5)
        camera.infos.publish(camera.info())
    assert camera.infos.wait_for_all_acked(Duration(seconds=PATIENCE_S))
    (tmp_path / "gate").touch()
    robot.wait_until(lambda: activation.done() and infos, "the frame's own calibration")
    assert (nanoseconds(infos[0]), infos[0].k[2]) == (sent, 70.0)


def test_importing_the_node_imports_no_torch():
    code = "import depth_estimation_ros.node, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
