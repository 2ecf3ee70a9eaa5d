"""Start the depth node: ``ros2 launch depth_estimation_ros depth.launch.py image:=/camera/image_raw``."""

from __future__ import annotations

from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("depth_estimation_ros"))

# Name, default, description. An empty default leaves the value to the parameter file or to the node.
ARGUMENTS = (
    ("image", "image", "Topic of the camera's sensor_msgs/Image"),
    ("camera_info", "", "Topic of its CameraInfo; empty means the sibling of the image topic"),
    ("image_transport", "", "raw or compressed; compressed subscribes to <image>/compressed"),
    ("namespace", "", "Namespace of the node and of its output topics"),
    ("name", "depth_estimation", "Name of the node"),
    ("model", "", "default, a bundled name, or the path of an .onnx or .pt2 file"),
    ("device", "", "auto, cpu or cuda"),
    ("params_file", str(SHARE / "config" / "depth.yaml"), "Parameter file; launch arguments win over it"),
    ("autostart", "true", "Configure and activate at start; false under a lifecycle manager"),
    ("use_sim_time", "false", "Take the time from /clock"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
    ("rviz", "false", "Also start rviz2 with the package's view"),
    (
        "rviz_frame",
        "camera_optical_frame",
        "Fixed frame of rviz2: the frame_id of the camera's images, or any frame in tf",
    ),
)
NODE_PARAMETERS = ("image_transport", "model", "device")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Turn the launch arguments into the node (and rviz2, when asked for)."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    flag = {name: yaml.safe_load(value[name].lower()) for name in ("autostart", "use_sim_time", "rviz")}
    for name, setting in flag.items():
        if not isinstance(setting, bool):
            raise ValueError(f"launch argument {name}:={value[name]} must be true or false")
    overrides = {name: value[name] for name in NODE_PARAMETERS if value[name]}
    remappings = [("image", value["image"])]
    if value["camera_info"]:
        remappings.append(("camera_info", value["camera_info"]))
    actions: list[LaunchDescriptionEntity] = [
        Node(
            package="depth_estimation_ros",
            executable="depth_node",
            name=value["name"],
            namespace=value["namespace"],
            parameters=[
                value["params_file"],
                {**overrides, "autostart": flag["autostart"], "use_sim_time": flag["use_sim_time"]},
            ],
            remappings=remappings,
            arguments=["--ros-args", "--log-level", value["log_level"]],
            output="screen",
        )
    ]
    if flag["rviz"]:
        prefix = "/" + value["namespace"].strip("/") if value["namespace"].strip("/") else ""
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(SHARE / "config" / "depth.rviz"), "-f", value["rviz_frame"]],
                parameters=[{"use_sim_time": flag["use_sim_time"]}],
                remappings=[(topic, prefix + topic) for topic in ("/depth/image_rect", "/depth/points")],
            )
        )
    return actions


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; ``ros2 launch … --show-args`` lists them with their descriptions."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
