"""Start the depth node: ``ros2 launch depth_estimation_ros depth.launch.py image:=/camera/image_raw``.

Webcam to cloud: ``… depth.launch.py camera:=/dev/video0 camera_height:=0.3 rviz:=true``.
Several cameras: ``… depth.launch.py cameras:="{front: /front_camera/image_raw, left: /left_camera/image_raw}"``.
"""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from depth_estimation_ros.mounting import check_mounting, optical_quaternion

SHARE = Path(get_package_share_directory("depth_estimation_ros"))
DEFAULT_PARAMETERS = SHARE / "config" / "depth.yaml"

CAMERA_FRAME = "camera_optical_frame"

# Name, default, description. An empty text argument leaves the value to the parameter file or to the node.
ARGUMENTS = (
    ("image", "", "Topic of the camera's sensor_msgs/Image; empty: image, or with camera:= what its driver sends"),
    ("camera_info", "", "Topic of its CameraInfo; empty: the sibling of the image topic"),
    (
        "cameras",
        "",
        "Several cameras on one model: {front: /front_camera/image_raw, left: /left_camera/image_raw}, or the names "
        "alone, [front, left], for front/image and left/image; empty: the parameter file's",
    ),
    ("image_transport", "", "raw or compressed, which subscribes to <image>/compressed; empty: the parameter file's"),
    ("namespace", "", "Namespace of all that is started here, and of the output topics"),
    ("name", "depth_estimation", "Name of the node"),
    ("model", "", "default, a bundled name, or the path of an .onnx or .pt2 file; empty: the parameter file's"),
    ("device", "", "auto, cpu, cuda or cuda:N; empty: the parameter file's"),
    ("params_file", str(DEFAULT_PARAMETERS), "Parameter file; the other arguments win over it"),
    ("autostart", "", "Configure and activate at start; false under a lifecycle manager; empty: the parameter file's"),
    ("use_sim_time", "", "Take the time from /clock; empty: the parameter file's"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
    ("camera", "", "Also start usb_cam on this webcam: /dev/video0, or its number; empty: the camera runs already"),
    ("camera_info_url", "", "Calibration of the webcam, as file:///home/me/camera.yaml; empty: the one saved for it"),
    (
        "assumed_hfov_deg",
        "",
        "Horizontal field of view of an uncalibrated camera; empty: the parameter file's, or 60 for a webcam where no "
        "file of your own is given",
    ),
    (
        "camera_frame",
        "",
        "frame_id of the camera's images: what the webcam's driver is told, or what your own driver sends; empty: "
        f"{CAMERA_FRAME} for the webcam's, but for rviz what the images say",
    ),
    (
        "camera_height",
        "",
        "Metres from the floor to the lens: also publish the camera's transform (with a camera that runs already give "
        "camera_frame, too); empty: do not",
    ),
    ("camera_pitch", "0.0", "Degrees by which the camera looks down"),
    ("base_frame", "base_footprint", "Parent frame of that transform: on the floor, z up"),
    ("rviz", "false", "Also start rviz2 with the package's view"),
    ("rviz_frame", "", "Fixed frame of rviz2; empty: base_frame with camera_height:=, otherwise the camera's"),
)
TEXT_PARAMETERS = ("image_transport", "model", "device")
SWITCH_PARAMETERS = ("autostart", "use_sim_time")

Value = str | bool | float | list[str]
"""Of a parameter."""

CAMERA_NAMESPACE = "camera"
WEBCAM_HFOV_DEG = 60.0
"""Between what laptops and clip-on webcams have; without any, an uncalibrated webcam would give no cloud at all."""


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Turn the launch arguments into nodes; whatever is wrong is refused before the first of them starts."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides: dict[str, Value] = {name: value[name] for name in TEXT_PARAMETERS if value[name]}
    overrides |= {name: switch(name, value[name]) for name in SWITCH_PARAMETERS if value[name]}
    if value["assumed_hfov_deg"]:
        overrides["assumed_hfov_deg"] = number("assumed_hfov_deg", value)
    elif value["camera"] and value["params_file"] in ("", str(DEFAULT_PARAMETERS)):
        overrides["assumed_hfov_deg"] = WEBCAM_HFOV_DEG
    cameras = several_cameras(value)
    if cameras:
        overrides["cameras"] = list(cameras)
    in_file = parameters_of_file(value)
    use_sim_time = {"use_sim_time": overrides.get("use_sim_time", in_file.get("use_sim_time") is True)}
    nodes = []
    if value["camera"]:
        nodes.append(camera_driver(value))
    if value["camera_height"]:
        nodes.append(camera_transform(value, use_sim_time))
        overrides |= {name: number(name, value) for name in ("camera_height", "camera_pitch")}
        overrides["scan.frame"] = value["base_frame"]
    elif number("camera_pitch", value):
        raise ValueError(
            f"launch argument camera_pitch:={value['camera_pitch']} needs camera_height:= beside it: give both, or set "
            "camera_pitch where camera_height is set, in the parameter file"
        )
    if switch("rviz", value["rviz"]):
        nodes.append(rviz(value, next(iter(cameras or in_file.get("cameras") or ()), ""), use_sim_time))
    return [*nodes, depth_node(value, cameras, overrides)]


def several_cameras(value: Mapping[str, str]) -> dict[str, str]:
    """Image topic of each camera by its name; none where one camera is served, or the parameter file names them."""
    # In YAML, as the node's parameter of this name and `ros2 topic pub` take it: nothing new to learn. A parameter file
    # alone would not do, because no file can remap. Each camera_info is the sibling of its image, as everywhere.
    if not value["cameras"]:
        return {}
    try:
        cameras = yaml.safe_load(value["cameras"])
    except yaml.YAMLError:
        cameras = None
    if isinstance(cameras, list):
        cameras = {name: f"{name}/image" for name in cameras}
    texts = [*cameras, *cameras.values()] if isinstance(cameras, dict) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"launch argument cameras:={value['cameras']} must name each camera and its image topic, as in "
            '"{front: /front_camera/image_raw, left: /left_camera/image_raw}", or the names alone: "[front, left]"'
        )
    for other in ("image", "camera_info", "camera", "camera_height"):
        if value[other]:
            raise ValueError(
                f"launch arguments cameras:={value['cameras']} and {other}:={value[other]} exclude each other: {other} "
                "is one camera's; leave it out, and name the topics in cameras (their transforms come from the robot's "
                "own description)"
            )
    return cameras


def parameters_of_file(value: Mapping[str, str]) -> dict[str, Any]:
    """What the parameter file gives the node, by name; nothing for a file that the node itself will refuse."""
    # Humble's rclpy has no reader of such files.
    target = f"/{value['namespace'].strip('/')}/{value['name']}".replace("//", "/")
    parameters: dict[str, Any] = {}
    for file in parameter_files(value["params_file"]):
        with suppress(OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
            nodes = yaml.safe_load(file.read_text())
            for name in ("/**", target, target.lstrip("/")):
                parameters |= nodes.get(name, {}).get("ros__parameters", {})
    return parameters


def depth_node(value: Mapping[str, str], cameras: Mapping[str, str], overrides: Mapping[str, Value]) -> Node:
    """The node itself."""
    image = value["image"] or (f"{CAMERA_NAMESPACE}/image_raw" if value["camera"] else "image")
    remappings = [(f"{name}/image", topic) for name, topic in cameras.items()] or [("image", image)]
    if value["camera_info"]:
        remappings.append(("camera_info", value["camera_info"]))
    return Node(
        package="depth_estimation_ros",
        executable="depth_node",
        name=value["name"],
        namespace=value["namespace"],
        parameters=[*parameter_files(value["params_file"]), dict(overrides)],
        remappings=remappings,
        arguments=["--ros-args", "--log-level", value["log_level"]],
        output="screen",
    )


def camera_driver(value: Mapping[str, str]) -> Node:
    """The webcam's driver, its topics in a namespace of their own, so that image_transport's keep their names."""
    # usb_cam rather than v4l2_camera: released for every supported distribution, it sends the camera's own YUYV, two
    # bytes a pixel instead of three, and ends with the list of devices where the one asked for cannot be opened.
    if value["image"]:
        raise ValueError(
            f"launch arguments camera:={value['camera']} and image:={value['image']} exclude each other: camera starts "
            "a driver, image names the topic of one that runs already; give one of them"
        )
    device = f"/dev/video{value['camera']}" if value["camera"].isdecimal() else value["camera"]
    if not Path(device).exists():
        raise ValueError(
            f"launch argument camera:={value['camera']} means {device}, which does not exist: plug the camera in, and "
            "see `ls /dev/video*` for its name (a container needs --device)"
        )
    require("usb_cam", "camera", value)
    return Node(
        package="usb_cam",
        executable="usb_cam_node_exe",
        name="driver",
        namespace=f"{value['namespace'].rstrip('/')}/{CAMERA_NAMESPACE}" if value["namespace"] else CAMERA_NAMESPACE,
        parameters=[
            {
                "video_device": device,
                "frame_id": value["camera_frame"] or CAMERA_FRAME,
                "camera_info_url": value["camera_info_url"],
                "pixel_format": "yuyv",
                "brightness": -1,  # the driver's default would darken or brighten the picture; -1 leaves it alone
            }
        ],
        output="screen",
    )


def camera_transform(value: Mapping[str, str], use_sim_time: Mapping[str, Value]) -> Node:
    """The camera's place on the robot: straight above the base frame, looking forward."""
    height_m, pitch_deg = number("camera_height", value), number("camera_pitch", value)
    check_mounting(height_m, pitch_deg)
    if not value["camera"] and not value["camera_frame"]:
        raise ValueError(
            f"launch argument camera_height:={value['camera_height']} publishes a transform to the camera's frame, and "
            "what a running camera's is called only its images say: give camera_frame:= beside it, the frame_id that "
            "`ros2 topic echo --once --field header.frame_id` shows of its image topic"
        )
    require("tf2_ros", "camera_height", value)
    arguments = ["--x", "0", "--y", "0", "--z", str(height_m)]
    for axis, component in zip("xyzw", optical_quaternion(math.radians(pitch_deg)), strict=True):
        arguments += [f"--q{axis}", str(component)]
    return Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        name="camera_transform",
        namespace=value["namespace"],
        arguments=[
            *arguments,
            *("--frame-id", value["base_frame"]),
            *("--child-frame-id", value["camera_frame"] or CAMERA_FRAME),
        ],
        parameters=[dict(use_sim_time)],
        output="screen",
    )


def rviz(value: Mapping[str, str], camera: str, use_sim_time: Mapping[str, Value]) -> Node:
    """rviz2, with the view from behind the robot where its z axis is up, else from behind the (first) camera."""
    require("rviz2", "rviz", value)
    is_z_up = bool(value["camera_height"])
    frame = value["rviz_frame"] or (value["base_frame"] if is_z_up else value["camera_frame"])
    view = "depth_z_up.rviz" if is_z_up else "depth.rviz"
    outputs = f"{camera}/depth" if camera else "depth"
    # rviz shows nothing in a frame that does not exist, and what a running camera's is called only its images say.
    waiting = [sys.executable, "-m", "depth_estimation_ros.rviz_in_camera_frame", f"{outputs}/camera_info"]
    return Node(
        package="rviz2",
        executable="rviz2",
        # In the node's namespace, so that relative topics mean the node's own.
        namespace=value["namespace"],
        prefix=None if frame else shlex.join(waiting),
        arguments=["-d", str(SHARE / "config" / view), *(("-f", frame) if frame else ())],
        parameters=[dict(use_sim_time)],
        remappings=[(f"/depth/{output}", f"{outputs}/{output}") for output in ("image_rect", "points")],
    )


def require(package: str, argument: str, value: Mapping[str, str]) -> None:
    """Refuse a package that is not installed before anything starts; launch itself finds out too late."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError as error:
        apt_package = f"ros-{os.environ.get('ROS_DISTRO', '<distribution>')}-{package.replace('_', '-')}"
        raise ValueError(
            f"package '{package}' not found, and {argument}:={value[argument]} starts it: "
            f"sudo apt install {apt_package}"
        ) from error


def number(name: str, value: Mapping[str, str]) -> float:
    """Read a number."""
    try:
        return float(value[name])
    except ValueError as error:
        raise ValueError(f"launch argument {name}:={value[name]} must be a number") from error


def switch(name: str, text: str) -> bool:
    """Read true or false as people write them: YAML's lower case and Python's capital."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"launch argument {name}:={text} must be true or false")
    return text.lower() == "true"


def parameter_files(path: str) -> list[Path]:
    """Give the one file, or none for an empty path; launch_ros itself only warns where a file is missing."""
    if not path:
        return []
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"launch argument params_file:={path} is no file: correct the path")
    return [file]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; ``ros2 launch … --show-args`` lists them with their descriptions."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
