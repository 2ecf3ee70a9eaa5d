"""Start the depth node: ``ros2 launch depth_estimation_ros depth.launch.py image:=/camera/image_raw``."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("depth_estimation_ros"))

# Name, default, description. An empty text argument leaves the value to the parameter file or to the node.
ARGUMENTS = (
    ("image", "image", "Topic of the camera's sensor_msgs/Image"),
    ("camera_info", "", "Topic of its CameraInfo; empty: the sibling of the image topic"),
    ("image_transport", "", "raw or compressed, which subscribes to <image>/compressed; empty: the parameter file's"),
    ("namespace", "", "Namespace of the node and of its output topics"),
    ("name", "depth_estimation", "Name of the node"),
    ("model", "", "default, a bundled name, or the path of an .onnx or .pt2 file; empty: the parameter file's"),
    ("device", "", "auto, cpu, cuda or cuda:N; empty: the parameter file's"),
    ("params_file", str(SHARE / "config" / "depth.yaml"), "Parameter file; the other arguments win over it"),
    ("autostart", "", "Configure and activate at start; false under a lifecycle manager; empty: the parameter file's"),
    ("use_sim_time", "", "Take the time from /clock; empty: the parameter file's"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
    ("rviz", "false", "Also start rviz2 with the package's view"),
    (
        "rviz_frame",
        "camera_optical_frame",
        "Fixed frame of rviz2: the frame_id of the camera's images, or any frame in tf",
    ),
)
TEXT_PARAMETERS = ("image_transport", "model", "device")
SWITCH_PARAMETERS = ("autostart", "use_sim_time")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Turn the launch arguments into the node (and rviz2, when asked for)."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides = {name: value[name] for name in TEXT_PARAMETERS if value[name]}
    overrides |= {name: switch(name, value[name]) for name in SWITCH_PARAMETERS if value[name]}
    remappings = [("image", value["image"])]
    if value["camera_info"]:
        remappings.append(("camera_info", value["camera_info"]))
    node = Node(
        package="depth_estimation_ros",
        executable="depth_node",
        name=value["name"],
        namespace=value["namespace"],
        parameters=[*parameter_files(value["params_file"]), overrides],
        remappings=remappings,
        arguments=["--ros-args", "--log-level", value["log_level"]],
        output="screen",
    )
    if not switch("rviz", value["rviz"]):
        return [node]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        # In the node's namespace, so that relative topics mean the node's own.
        namespace=value["namespace"],
        arguments=["-d", str(SHARE / "config" / "depth.rviz"), "-f", value["rviz_frame"]],
        parameters=[{"use_sim_time": overrides.get("use_sim_time", False)}],
        remappings=[("/depth/image_rect", "depth/image_rect"), ("/depth/points", "depth/points")],
    )
    # rviz2 first: where it is not installed launch gives up, and a node already started would outlive it.
    return [rviz, node]


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
