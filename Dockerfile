# The depth node on a CPU, for amd64 and arm64 (the base images are for both), with a webcam driver beside it:
#   docker build -t depth_estimation_ros .                               Jazzy
#   docker build -t depth_estimation_ros --build-arg ROS_DISTRO=humble . Humble
#   docker run --rm --network host --ipc host --device /dev/video0 depth_estimation_ros \
#       ros2 launch depth_estimation_ros depth.launch.py camera:=/dev/video0
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

# rosdep installs onnxruntime with pip. Ubuntu 24.04 lets pip write to the system only where it is told so; and pip must
# not put numpy 2 over the numpy that Humble's and Jazzy's cv_bridge was built with.
ENV PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_CONSTRAINT=/etc/pip_constraints.txt \
    PIP_NO_CACHE_DIR=1
RUN case "${ROS_DISTRO}" in humble|jazzy) echo 'numpy<2' ;; esac > /etc/pip_constraints.txt

WORKDIR /ros2_ws

# The manifest alone first, so that a change of the code does not install everything again. rviz2 stays outside.
COPY package.xml src/depth_estimation_ros/package.xml
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip "ros-${ROS_DISTRO}-usb-cam" \
    && rosdep update --rosdistro "${ROS_DISTRO}" \
    && rosdep install --from-paths src --ignore-src -y --rosdistro "${ROS_DISTRO}" \
        --dependency-types exec --skip-keys rviz2 \
    && rm -rf /var/lib/apt/lists/*

COPY . src/depth_estimation_ros
RUN . "/opt/ros/${ROS_DISTRO}/setup.sh" \
    && colcon build --packages-select depth_estimation_ros \
    && rm -rf build log

# Fails the build, rather than the robot, where the model does not run on what was installed.
RUN . install/setup.sh \
    && python3 -c "from depth_estimation_ros.inference.predictor import load_predictor; load_predictor().warm_up(240, 320)"

# `ros2 launch` passes this one on to the node, and SIGTERM not.
STOPSIGNAL SIGINT
ENTRYPOINT ["/ros2_ws/src/depth_estimation_ros/docker/entrypoint.sh"]
CMD ["ros2", "launch", "depth_estimation_ros", "depth.launch.py"]
