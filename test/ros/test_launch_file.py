"""launch/depth.launch.py as a user starts it: what reaches the node, what wins over what, and what is refused."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from robot_harness import NodeProcess

# The submodules, because our own folder launch/ passes for a package of that name.
WHY_SKIPPED = "needs launch and launch_ros: a ROS 2 installation has them, PyPI does not"
pytest.importorskip("launch.actions", reason=WHY_SKIPPED)
pytest.importorskip("launch_ros.actions", reason=WHY_SKIPPED)

ROOT = Path(__file__).parents[2]
PACKAGE = "depth_estimation_ros"

# What `ros2 launch` does with a file and arguments; itself it is part of no Python package that could be imported here.
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
service = LaunchService(noninteractive=True)
source = PythonLaunchDescriptionSource(path)
arguments = [tuple(argument.split(":=", 1)) for argument in arguments]
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)]))
sys.exit(service.run())
"""

# Says where rviz2 would look for the topics of its view, and ends.
RVIZ_DOUBLE = """
import json, os, re, sys
import rclpy

rclpy.init(args=sys.argv)
node = rclpy.create_node("rviz")
view = open(sys.argv[sys.argv.index("-d") + 1]).read()
report = {
    "frame": sys.argv[sys.argv.index("-f") + 1],
    "topics": {topic: node.resolve_topic_name(topic) for topic in re.findall(r"Value: (/\\S+)", view)},
    "use_sim_time": node.get_parameter("use_sim_time").value,
}
with open(os.environ["RVIZ_REPORT"], "w") as file:
    json.dump(report, file)
"""

Launch = Callable[..., NodeProcess]


class Prefix:
    """An install tree as colcon makes it, of links to this checkout."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.add(PACKAGE, "depth_node", ROOT / "test" / "ros" / "plane_node.py")
        for name in ("launch", "config"):
            (folder / "share" / PACKAGE / name).symlink_to(ROOT / name)

    def add(self, package: str, executable: str, script: Path) -> None:
        (self.folder / "share" / package).mkdir(parents=True, exist_ok=True)
        index = self.folder / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        path = self.folder / "lib" / package / executable
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        path.chmod(0o755)


@pytest.fixture
def prefix(tmp_path) -> Prefix:
    return Prefix(tmp_path / "install")


@pytest.fixture
def launch(robot, domain, prefix, tmp_path) -> Launch:
    """Starts the launch file; `robot` ends it like Ctrl-C, and checks that it ended well."""

    def start(**arguments: str) -> NodeProcess:
        environment = {
            **os.environ,
            "AMENT_PREFIX_PATH": os.pathsep.join([str(prefix.folder), os.environ.get("AMENT_PREFIX_PATH", "")]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": str(tmp_path),
            "RVIZ_REPORT": str(tmp_path / "rviz.json"),
            "OVERRIDE_LAUNCH_PROCESS_OUTPUT": "screen",
        }
        path = prefix.folder / "share" / PACKAGE / "launch" / "depth.launch.py"
        command = [sys.executable, "-c", RUN, str(path), *(f"{name}:={value}" for name, value in arguments.items())]
        robot.processes.append(NodeProcess(command, tmp_path / f"launch_{len(robot.processes)}.log", environment))
        return robot.processes[-1]

    return start


def values_of(robot, node: str, *names: str) -> list:
    answer = robot.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=names))
    return [parameter_value_to_python(value) for value in answer.values]


def endpoints(infos) -> list[str]:
    return [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]


def parameter_file(folder: Path, node: str = "/**") -> str:
    path = folder / "own.yaml"
    own = {"model": "from the file", "device": "cpu", "max_range": 5, "points": {"stride": 4}, "autostart": False}
    path.write_text(json.dumps({node: {"ros__parameters": own}}))  # JSON is YAML
    return str(path)


def test_every_argument_is_declared_with_a_default_and_a_description(prefix, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix.folder))
    spec = importlib.util.spec_from_file_location("depth_launch", ROOT / "launch" / "depth.launch.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    declared = {argument.name: argument for argument in module.generate_launch_description().get_launch_arguments()}
    topics = {"image", "camera_info", "image_transport", "namespace", "name"}
    node = {"model", "device", "params_file", "autostart", "use_sim_time", "log_level"}
    assert set(declared) == topics | node | {"rviz", "rviz_frame"}
    assert all(argument.default_value is not None and argument.description for argument in declared.values())


def test_without_arguments_the_node_works_with_the_bundled_file(robot, launch):
    launch()
    robot.wait_for_state("active")
    names = ["model", "max_range", "points.stride", "autostart", "use_sim_time"]
    assert values_of(robot, "/depth_estimation", *names) == ["default", 10.0, 2, True, False]
    assert endpoints(robot.node.get_subscriptions_info_by_topic("/image")) == ["/depth_estimation"]


@pytest.mark.parametrize("node", ["/**", "/front/depth_estimation"])
def test_arguments_win_over_the_file_and_empty_ones_leave_it_alone(robot, launch, tmp_path, node):
    own = parameter_file(tmp_path, node)
    launch(namespace="front", params_file=own, model="given", device="", autostart="", use_sim_time="True")
    names = ["model", "device", "max_range", "points.stride", "autostart", "use_sim_time"]
    values = values_of(robot, "/front/depth_estimation", *names)
    assert values == ["given", "cpu", 5.0, 4, False, True]
    robot.wait_for_state("unconfigured")


def test_autostart_wins_over_the_file_and_text_stays_text(robot, launch, tmp_path):
    launch(params_file=parameter_file(tmp_path), autostart="true", model="12 # no")
    robot.wait_for_state("active")
    assert values_of(robot, "/depth_estimation", "model", "autostart") == ["12 # no", True]


def test_no_file_at_all_leaves_the_defaults(robot, launch):
    launch(params_file="", autostart="false")
    assert values_of(robot, "/depth_estimation", "max_range", "autostart") == [10.0, False]


def test_topics_follow_remaps_namespace_and_name(robot, launch):
    launch(namespace="/front/", name="depth", image="/camera/image_raw")
    launch(namespace="rear", image="image_raw", camera_info="/calibration/rear", image_transport="compressed")
    front, rear = ["/front/depth"], ["/rear/depth_estimation"]
    subscriptions = {
        "/camera/image_raw": front,
        "/camera/camera_info": front,
        "/rear/image_raw/compressed": rear,
        "/calibration/rear": rear,
    }
    publishers = {
        f"{space}/depth/{output}": node
        for space, node in (("/front", front), ("/rear", rear))
        for output in ("image_rect", "camera_info", "points")
    }

    def is_so() -> bool:
        return all(
            endpoints(robot.node.get_subscriptions_info_by_topic(topic)) == node
            for topic, node in subscriptions.items()
        ) and all(
            endpoints(robot.node.get_publishers_info_by_topic(topic)) == node for topic, node in publishers.items()
        )

    robot.wait_until(is_so, "both nodes are on their own topics")


def test_rviz_looks_at_this_nodes_topics(robot, launch, prefix, tmp_path):
    double = tmp_path / "rviz_double.py"
    double.write_text(RVIZ_DOUBLE)
    prefix.add("rviz2", "rviz2", double)
    process = launch(namespace="front", rviz="true", rviz_frame="map", use_sim_time="true")
    ended = re.compile(r"\[rviz2-\d+\]: process has finished cleanly")
    robot.wait_until(lambda: ended.search(process.output), "rviz2's double has ended")
    seen = json.loads((tmp_path / "rviz.json").read_text())
    assert set(seen["topics"]) == {"/depth/points", "/depth/image_rect"}
    assert all(resolved == f"/front{topic}" for topic, resolved in seen["topics"].items())
    assert (seen["frame"], seen["use_sim_time"]) == ("map", True)
    robot.wait_for_state("active")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"autostart": "maybe"}, "autostart:=maybe must be true or false"),
        ({"use_sim_time": "1"}, "use_sim_time:=1 must be true or false"),
        ({"rviz": ""}, "rviz:= must be true or false"),
        ({"params_file": "/no/such.yaml"}, "params_file:=/no/such.yaml is no file"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(launch, arguments, words):
    process = launch(**arguments)
    assert process.exit_status() == 1
    assert words in process.output
    assert "process started" not in process.output


def test_a_missing_rviz_leaves_no_node_behind(launch, prefix, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")  # that a ROS installation's rviz2 is not found
    process = launch(rviz="true")
    assert process.exit_status() == 1
    assert "'rviz2' not found" in process.output
    left = processes_from(prefix)
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


def processes_from(prefix: Prefix) -> list[int]:
    """Processes whose command line names a file of this install tree."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if os.fsencode(prefix.folder) in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def test_the_installed_script_ends_with_the_nodes_own_sentence_and_status(launch, prefix):
    prefix.add(PACKAGE, "depth_node", ROOT / "scripts" / "depth_node")
    process = launch(model="/no/such.onnx", log_level="warn")
    assert process.exit_status() == 0, "launch itself ends well when its last process has ended"
    assert "configure failed: model '/no/such.onnx'" in process.output
    assert "exit code 1" in process.output
