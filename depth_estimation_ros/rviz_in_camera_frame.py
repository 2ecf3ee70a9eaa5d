"""Start rviz2 in the frame that a camera's images are of, which only the images say.

`python -m depth_estimation_ros.rviz_in_camera_frame CAMERA_INFO_TOPIC RVIZ2 [ARGUMENT...]`, as depth.launch.py does.
"""

from __future__ import annotations

import os
import sys
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

SAY_EVERY_S = 5.0


def wait_for_frame(node: Node, topic: str) -> str:
    """Wait for a CameraInfo with a frame_id, which it returns.

    Raises:
        KeyboardInterrupt, ExternalShutdownException: As `rclpy.spin_once`.
    """
    frames: list[str] = []
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    subscription = node.create_subscription(CameraInfo, topic, lambda msg: frames.append(msg.header.frame_id), qos)
    said_s = time.monotonic()
    while not any(frames):
        rclpy.spin_once(node, timeout_sec=0.2)
        if time.monotonic() - said_s > SAY_EVERY_S:
            said_s = time.monotonic()
            missing = "one with a frame_id (set optical_frame)" if frames else "one"
            node.get_logger().info(
                f"rviz starts in the camera's frame: waiting for {missing} on {subscription.topic_name}; "
                "rviz_frame:= starts it at once"
            )
    return next(filter(None, frames))


def main(arguments: list[str]) -> int:
    """Wait for the frame, then become rviz2; the exit status is 0 where Ctrl-C comes first."""
    topic, *command = arguments
    rclpy.init(args=command)  # its own namespace and remappings are those of rviz2
    try:
        frame = wait_for_frame(rclpy.create_node("rviz_frame"), topic)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        rclpy.try_shutdown()
    os.execvp(command[0], [command[0], "-f", frame, *command[1:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
