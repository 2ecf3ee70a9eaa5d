#!/usr/bin/env bash
# Every command in the container finds ROS and the package.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
source /ros2_ws/install/setup.bash
exec "$@"
