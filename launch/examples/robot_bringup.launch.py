"""A robot's own bring-up that includes the depth node: copy it, and change the names to your robot's.

The robot's camera driver publishes ``/robot1/front_camera/image_raw`` and ``camera_info`` beside it; its URDF has the
camera, so no transform is asked for here. The cloud comes out as ``/robot1/front_depth/points``.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetRemap

DEPTH_LAUNCH = Path(get_package_share_directory("depth_estimation_ros")) / "launch" / "depth.launch.py"


def generate_launch_description() -> LaunchDescription:
    """One camera of one robot; a second one is a second group with other names, or ``cameras`` on one model."""
    robot = LaunchConfiguration("robot")
    depth = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(DEPTH_LAUNCH)),
        launch_arguments={
            "namespace": robot,
            "name": "front_depth_estimation",
            # Relative, so that it means the robot's own camera in whatever namespace the robot is.
            "image": "front_camera/image_raw",
            # nav2's lifecycle manager configures and activates: name front_depth_estimation in its node_names.
            "autostart": LaunchConfiguration("autostart"),
            "use_sim_time": LaunchConfiguration("use_sim_time"),
            # Named here, because an included file sees the including one's arguments of the same name.
            "camera": "",
            "rviz": "false",
        }.items(),
    )
    # The outputs of two cameras in one namespace have to differ, and from the robot's own scan: depth/… becomes
    # front_depth/…, rgb/… front_rgb/… and scan front_scan.
    outputs = ("depth/image_rect", "depth/camera_info", "depth/points", "depth/color", "depth/confidence")
    renamed = [
        SetRemap(output, PathJoinSubstitution(["/", robot, f"front_{output}"]))
        for output in (*outputs, "rgb/image_rect", "rgb/camera_info", "scan")
    ]
    return LaunchDescription(
        [
            DeclareLaunchArgument("robot", default_value="robot1", description="Namespace of the robot"),
            DeclareLaunchArgument("autostart", default_value="true", description="false under a lifecycle manager"),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock"),
            # A group keeps what is set for the depth node from leaking to whatever the bring-up starts next.
            GroupAction([*renamed, depth]),
        ]
    )
