"""launch/depth.launch.py as a user starts it: what reaches the node, what wins over what, and what is refused."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from robot_harness import Camera, NodeProcess
from sensor_msgs.msg import PointCloud2

from depth_estimation_ros.transport import size_segment

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

# A webcam that nobody has calibrated, as usb_cam sends it.
USB_CAM_DOUBLE = """
import sys
import rclpy
from sensor_msgs.msg import CameraInfo, Image

rclpy.init(args=sys.argv)
node = rclpy.create_node("usb_cam", automatically_declare_parameters_from_overrides=True)
images = node.create_publisher(Image, "image_raw", 10)
infos = node.create_publisher(CameraInfo, "camera_info", 10)


def send():
    image = Image(height=120, width=160, encoding="yuv422_yuy2", step=320)
    image.data.frombytes(bytes([120, 128]) * (120 * 160))
    info = CameraInfo(height=120, width=160)
    image.header.stamp = info.header.stamp = node.get_clock().now().to_msg()
    image.header.frame_id = info.header.frame_id = node.get_parameter("frame_id").value
    infos.publish(info)
    images.publish(image)


node.create_timer(0.1, send)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
"""

# A robot's own bring-up, which includes the depth node and then starts something else, and that.
BRING_UP = """
from pathlib import Path
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

def generate_launch_description():
    depth = Path(get_package_share_directory("depth_estimation_ros")) / "launch" / "depth.launch.py"
    neighbour = Node(package="neighbour", executable="neighbour", output="screen")
    return LaunchDescription([IncludeLaunchDescription(PythonLaunchDescriptionSource(str(depth))), neighbour])
"""
NEIGHBOUR = """
import os
print("environment", [name for name in os.environ if name.startswith(("FASTDDS_", "FASTRTPS_", "MALLOC_"))], flush=True)
"""

# Keeps the command line it was given, and ends.
TF_DOUBLE = """
import json, os, sys
with open(os.environ["RVIZ_REPORT"] + ".tf", "w") as file:
    json.dump(sys.argv[1:], file)
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

    def add_text(self, package: str, executable: str, text: str) -> None:
        script = self.folder.with_name(f"{executable}_double.py")
        script.write_text(text)
        self.add(package, executable, script)


@pytest.fixture
def prefix(tmp_path) -> Prefix:
    return Prefix(tmp_path / "install")


@pytest.fixture
def launch(robot, domain, prefix, tmp_path) -> Launch:
    """Starts the launch file; `robot` ends it like Ctrl-C, and checks that it ended well."""

    def start(file: str = "depth.launch.py", **arguments: str) -> NodeProcess:
        environment = {
            **os.environ,
            "AMENT_PREFIX_PATH": os.pathsep.join([str(prefix.folder), os.environ.get("AMENT_PREFIX_PATH", "")]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": str(tmp_path),
            "ROS_HOME": str(tmp_path / "ros_home"),
            "RVIZ_REPORT": str(tmp_path / "rviz.json"),
            "OVERRIDE_LAUNCH_PROCESS_OUTPUT": "screen",
        }
        path = prefix.folder / "share" / PACKAGE / "launch" / file
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
    topics = {"image", "camera_info", "cameras", "image_transport", "namespace", "name"}
    node = {"model", "device", "params_file", "autostart", "use_sim_time", "log_level"}
    camera = {"camera", "camera_info_url", "camera_frame", "camera_height", "camera_pitch", "base_frame"}
    assert set(declared) == topics | node | camera | {"assumed_hfov_deg", "rviz", "rviz_frame"}
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


@pytest.mark.parametrize(
    ("cameras", "front", "left"),
    [
        (
            "{front: /front_camera/image_raw, left: left_camera/rgb}",
            "/front_camera/image_raw",
            "/robot/left_camera/rgb",
        ),
        ("[front, left]", "/robot/front/image", "/robot/left/image"),
    ],
)
def test_several_cameras_each_have_their_own_topics(robot, launch, cameras, front, left):
    launch(cameras=cameras, namespace="robot")
    node = ["/robot/depth_estimation"]
    heard = [front, left, *(f"{topic.rpartition('/')[0]}/camera_info" for topic in (front, left))]
    spoken = [f"/robot/{camera}/depth/{output}" for camera in ("front", "left") for output in ("image_rect", "points")]

    def is_so() -> bool:
        return all(endpoints(robot.node.get_subscriptions_info_by_topic(topic)) == node for topic in heard) and all(
            endpoints(robot.node.get_publishers_info_by_topic(topic)) == node for topic in spoken
        )

    robot.wait_until(is_so, "each camera is on its own topics")
    assert values_of(robot, "/robot/depth_estimation", "cameras") == [["front", "left"]]


def test_two_instances_work_side_by_side_and_one_goes_on_when_the_other_ends(robot, launch):
    sides = ("front", "rear")
    ends = {side: launch(namespace=side, image=f"/{side}_camera/image_raw") for side in sides}
    clouds = {side: robot.listen(PointCloud2, f"/{side}/depth/points") for side in sides}
    cameras = {
        side: Camera(robot, f"/{side}_camera/image_raw", f"/{side}_camera/camera_info", frame_id=f"{side}_lens")
        for side in sides
    }
    for side in sides:
        cameras[side].send_until(lambda side=side: clouds[side], f"a cloud from {side}")
        assert {cloud.header.frame_id for cloud in clouds[side]} == {f"{side}_lens"}
    ends["front"].kill(signal.SIGINT)
    assert ends["front"].exit_status() == 0
    clouds["rear"].clear()
    cameras["rear"].send_until(lambda: clouds["rear"], "a cloud from what is left")


@pytest.mark.parametrize("who", ["launch alone", "all, as a terminal does"])
def test_ctrl_c_ends_everything_cleanly(robot, launch, prefix, who):
    process = launch()
    robot.wait_for_state("active")
    started = processes_from(prefix)
    assert len(started) == 2, "launch and the node"
    for number in [process.popen.pid] if who == "launch alone" else started:
        os.kill(number, signal.SIGINT)
    assert process.exit_status() == 0
    assert "process has finished cleanly" in process.output
    assert not processes_from(prefix)


def test_what_the_node_gives_itself_reaches_no_other_process(robot, launch, prefix, tmp_path):
    prefix.add_text("neighbour", "neighbour", NEIGHBOUR)
    bring_up = prefix.folder / "share" / "neighbour" / "bring_up.launch.py"
    bring_up.write_text(BRING_UP)
    process = launch(str(bring_up))
    robot.wait_for_state("active")
    robot.wait_until(lambda: "environment " in process.output, "the neighbour has spoken")
    assert "environment []" in process.output
    profiles = list((tmp_path / "ros_home").rglob("fastdds_*.xml"))
    assert bool(profiles) == (size_segment().segment_bytes > 0), "while the node has it"


def test_simulated_time_of_the_file_holds_for_rviz_too(robot, launch, prefix, tmp_path):
    prefix.add_text("rviz2", "rviz2", RVIZ_DOUBLE)
    own = tmp_path / "own.yaml"
    own.write_text("/**:\n  ros__parameters:\n    use_sim_time: true\n    autostart: false\n")
    process = launch(rviz="true", rviz_frame="map", params_file=str(own))
    robot.wait_until(
        lambda: re.search(r"\[rviz2-\d+\]: process has finished cleanly", process.output), "rviz2 has ended"
    )
    assert json.loads((tmp_path / "rviz.json").read_text())["use_sim_time"] is True
    assert values_of(robot, "/depth_estimation", "use_sim_time") == [True]


def test_rviz_looks_at_this_nodes_topics(robot, launch, prefix, tmp_path):
    prefix.add_text("rviz2", "rviz2", RVIZ_DOUBLE)
    process = launch(namespace="front", rviz="true", rviz_frame="map", use_sim_time="true")
    ended = re.compile(r"\[rviz2-\d+\]: process has finished cleanly")
    robot.wait_until(lambda: ended.search(process.output), "rviz2's double has ended")
    seen = json.loads((tmp_path / "rviz.json").read_text())
    assert set(seen["topics"]) == {"/depth/points", "/depth/image_rect"}
    assert all(resolved == f"/front{topic}" for topic, resolved in seen["topics"].items())
    assert (seen["frame"], seen["use_sim_time"]) == ("map", True)
    robot.wait_for_state("active")


def test_rviz_stands_in_the_frame_that_the_images_of_a_running_camera_say(robot, launch, prefix, tmp_path):
    prefix.add_text("rviz2", "rviz2", RVIZ_DOUBLE)
    process = launch(namespace="front", image="/driver/image_raw", rviz="true", use_sim_time="false")
    camera = Camera(robot, "/driver/image_raw", "/driver/camera_info", frame_id="eye_of_the_driver")
    camera.send_until(lambda: "finished cleanly" in process.output, "rviz2's double has ended")
    seen = json.loads((tmp_path / "rviz.json").read_text())
    assert seen["frame"] == "eye_of_the_driver"
    assert all(resolved == f"/front{topic}" for topic, resolved in seen["topics"].items())


def test_rviz_says_what_it_waits_for_and_ends_with_the_rest(robot, launch, prefix):
    prefix.add_text("rviz2", "rviz2", RVIZ_DOUBLE)
    process = launch(rviz="true")
    robot.wait_until(lambda: "waiting for one on /depth/camera_info" in process.output, "it says what it waits for")
    process.kill(signal.SIGINT)
    assert process.exit_status() == 0
    assert "Traceback" not in process.output


@pytest.mark.parametrize("node", ["", "/**", "depth_estimation", "/depth_estimation"])
def test_rviz_looks_at_the_first_of_several_cameras(robot, launch, prefix, tmp_path, node):
    prefix.add_text("rviz2", "rviz2", RVIZ_DOUBLE)
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump({node: {"ros__parameters": {"cameras": ["left", "right"]}}}))
    process = launch(**({"params_file": str(file)} if node else {"cameras": "[left, right]"}), rviz="true")
    camera = Camera(robot, "/left/image", "/left/camera_info", frame_id="left_eye")
    camera.send_until(lambda: "finished cleanly" in process.output, "rviz2's double has ended")
    seen = json.loads((tmp_path / "rviz.json").read_text())
    assert seen["frame"] == "left_eye"
    assert seen["topics"] == {f"/depth/{output}": f"/left/depth/{output}" for output in ("points", "image_rect")}
    robot.wait_until(lambda: robot.status("right"), "both cameras are served")


@pytest.mark.parametrize("file", [{}, {"params_file": ""}], ids=["the package's file", "no file"])
def test_a_webcam_gives_a_cloud_in_one_command(robot, launch, prefix, tmp_path, file):
    prefix.add_text("usb_cam", "usb_cam_node_exe", USB_CAM_DOUBLE)
    device = tmp_path / "video0"
    device.touch()
    clouds = robot.listen(PointCloud2, "/front/depth/points")
    launch(camera=str(device), camera_frame="lens", namespace="front", **file)
    robot.wait_until(lambda: clouds, "a cloud from an uncalibrated webcam")
    assert clouds[0].header.frame_id == "lens"
    assert values_of(robot, "/front/depth_estimation", "assumed_hfov_deg") == [60.0]
    names = ["video_device", "frame_id", "camera_info_url", "pixel_format"]
    assert values_of(robot, "/front/camera/driver", *names) == [str(device), "lens", "", "yuyv"]


@pytest.mark.parametrize(("given", "expected"), [({}, 0.0), ({"assumed_hfov_deg": "75"}, 75.0)])
def test_a_view_is_assumed_only_where_it_is_asked_for(robot, launch, given, expected):
    launch(autostart="false", **given)
    assert values_of(robot, "/depth_estimation", "assumed_hfov_deg") == [expected]


def test_a_webcam_leaves_the_view_to_a_parameter_file_of_ones_own(robot, launch, prefix, tmp_path):
    prefix.add_text("usb_cam", "usb_cam_node_exe", USB_CAM_DOUBLE)
    device = tmp_path / "video0"
    device.touch()
    launch(camera=str(device), params_file=parameter_file(tmp_path))
    assert values_of(robot, "/depth_estimation", "assumed_hfov_deg") == [0.0]


def test_height_and_pitch_become_the_cameras_transform_and_rviz_stands_upright(robot, launch, prefix, tmp_path):
    prefix.add_text("tf2_ros", "static_transform_publisher", TF_DOUBLE)
    prefix.add_text("rviz2", "rviz2", RVIZ_DOUBLE)
    process = launch(camera_height="0.4", camera_pitch="15", base_frame="base", camera_frame="lens", rviz="true")
    robot.wait_until(lambda: process.output.count("finished cleanly") == 2, "both doubles have ended")
    told = json.loads((tmp_path / "rviz.json.tf").read_text())
    told = told[: told.index("--ros-args")]
    value = dict(zip(told[::2], told[1::2], strict=True))
    assert (value["--frame-id"], value["--child-frame-id"]) == ("base", "lens")
    assert [float(value[f"--{axis}"]) for axis in "xyz"] == [0, 0, 0.4]
    # The middle of the picture, in the base frame: the last column of the quaternion's rotation matrix.
    x, y, z, w = (float(value[f"--q{axis}"]) for axis in "xyzw")
    forward = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    assert forward == pytest.approx((math.cos(math.radians(15)), 0, -math.sin(math.radians(15))), abs=1e-12)
    assert json.loads((tmp_path / "rviz.json").read_text())["frame"] == "base"
    robot.wait_for_state("active")
    assert values_of(robot, "/depth_estimation", "camera_height", "camera_pitch", "scan.frame") == [0.4, 15.0, "base"]


def test_rviz_without_a_transform_stands_in_the_cameras_frame(robot, launch, prefix, tmp_path):
    prefix.add_text("rviz2", "rviz2", RVIZ_DOUBLE)
    process = launch(rviz="true", camera_frame="lens")
    robot.wait_until(lambda: "finished cleanly" in process.output, "rviz2's double has ended")
    assert json.loads((tmp_path / "rviz.json").read_text())["frame"] == "lens"
    robot.wait_for_state("active")


def test_the_example_puts_the_node_into_a_robots_namespace_and_renames_its_outputs(robot, launch):
    launch("examples/robot_bringup.launch.py", robot="r2")
    node = ["/r2/front_depth_estimation"]
    outputs = [f"/r2/front_depth/{output}" for output in ("image_rect", "camera_info", "points", "color", "confidence")]
    outputs += ["/r2/front_rgb/image_rect", "/r2/front_rgb/camera_info", "/r2/front_scan"]

    def is_so() -> bool:
        return endpoints(robot.node.get_subscriptions_info_by_topic("/r2/front_camera/image_raw")) == node and all(
            endpoints(robot.node.get_publishers_info_by_topic(topic)) == node for topic in outputs
        )

    robot.wait_until(is_so, "the node is on the robot's topics")


@pytest.mark.parametrize("package", ["usb_cam", "tf2_ros"])
def test_what_is_not_installed_is_named_with_the_command_that_installs_it(launch, tmp_path, monkeypatch, package):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    device = tmp_path / "video0"
    device.touch()
    given = {"camera": str(device)} if package == "usb_cam" else {"camera_height": "0.3", "camera_frame": "lens"}
    process = launch(**given)
    assert process.exit_status() == 1
    assert f"package '{package}' not found" in process.output
    assert f"sudo apt install ros-jazzy-{package.replace('_', '-')}" in process.output
    assert "process started" not in process.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"camera": "97"}, "camera:=97 means /dev/video97, which does not exist"),
        ({"camera": "0", "image": "/camera/image_raw"}, "camera:=0 and image:=/camera/image_raw exclude each other"),
        ({"cameras": "front"}, 'or the names alone: "[front, left]"'),
        ({"cameras": "{front: 1}"}, "must name each camera and its image topic"),
        ({"cameras": "[front, "}, "cameras:=[front,  must name each camera"),
        ({"cameras": "[]"}, "must name each camera"),
        ({"cameras": "[front]", "image": "/image"}, "cameras:=[front] and image:=/image exclude each other"),
        ({"cameras": "[front]", "camera_height": "0.3"}, "cameras:=[front] and camera_height:=0.3 exclude each other"),
        ({"camera_height": "high"}, "camera_height:=high must be a number"),
        ({"camera_height": "0.3", "camera_pitch": "91"}, "must lie between -90"),
        ({"camera_height": "0.3"}, "give camera_frame:= beside it"),
        ({"camera_pitch": "10"}, "needs camera_height"),
        ({"camera_pitch": "steep"}, "camera_pitch:=steep"),
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
