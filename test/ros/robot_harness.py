"""A robot around the node: this process is its camera and its listener, the node runs in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
COMMANDS = {
    "double": [sys.executable, str(Path(__file__).with_name("plane_node.py"))],
    "real": [sys.executable, "-m", "depth_estimation_ros.node_process"],
}
PATIENCE_S = 40.0
"""A condition that takes longer than this will not come; nothing waits for longer than it has to."""


class NodeProcess:
    def __init__(self, command: list[str], log: Path, environment: dict[str, str]):
        self._log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def exit_status(self) -> int:
        return self.popen.wait(PATIENCE_S)

    def kill(self, number: int) -> None:
        self.popen.send_signal(number)


class Robot:
    def __init__(self, folder: Path, domain: int):
        self._folder = folder
        self._environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": str(folder),
            "ROS_HOME": str(folder / "ros_home"),
            "RCUTILS_COLORIZED_OUTPUT": "0",
        }
        self._context = Context()
        self._context.init(domain_id=domain)
        self.node = Node("robot", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.processes: list[NodeProcess] = []
        self.statuses: list[DiagnosticStatus] = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        self.statuses += msg.status

    def start(
        self,
        what: str = "double",
        parameters: dict | None = None,
        remaps: dict | None = None,
        extra: tuple[str, ...] = (),
        **settings,
    ) -> NodeProcess:
        arguments = ["--ros-args", *extra]
        for name, value in {"diagnostics_period": 0.05, **(parameters or {})}.items():
            arguments += ["-p", f"{name}:={value}"]
        for name, value in (remaps or {}).items():
            arguments += ["-r", f"{name}:={value}"]
        environment = {**self._environment, "PLANE_NODE": json.dumps(settings)}
        log = self._folder / f"node_{len(self.processes)}.log"
        self.processes.append(NodeProcess([*COMMANDS[what], *arguments], log, environment))
        return self.processes[-1]

    def run(self, *command: str) -> NodeProcess:
        """Start another program beside the nodes."""
        log = self._folder / f"node_{len(self.processes)}.log"
        self.processes.append(NodeProcess([*command], log, self._environment))
        return self.processes[-1]

    def set_environment(self, **variables: str) -> None:
        self._environment |= variables

    def spin(self, timeout_s: float = 0.02) -> None:
        self._executor.spin_once(timeout_sec=timeout_s)

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while not condition():
            self.spin()
            if time.monotonic() > give_up_s:
                logs = "\n".join(process.output[-3000:] for process in self.processes)
                last = self.statuses[-1:] and (self.statuses[-1].message, self.values)
                pytest.fail(f"in vain: {what}\nlast diagnostics: {last}\n{logs}")

    def wait_for_state(self, state: str) -> None:
        self.wait_until(lambda: self.value("state") == state, f"the node is {state}")

    def says(self, level: bytes, *words: str) -> bool:
        """Whether the latest diagnostics have this level and these words."""
        last = self.statuses[-1:]
        return bool(last) and last[0].level == level and all(word in last[0].message for word in words)

    def wait_for_status(self, level: bytes, *words: str) -> None:
        self.wait_until(lambda: self.says(level, *words), f"diagnostics of level {level!r} with {words}")

    def status(self, camera: str) -> DiagnosticStatus | None:
        """The latest one of a node with several cameras: a camera's, or the node's for an empty name."""
        ending = f": camera {camera} to depth" if camera else ": cameras to depth"
        return next((status for status in reversed(self.statuses) if status.name.endswith(ending)), None)

    def values_of(self, camera: str) -> dict[str, str]:
        status = self.status(camera)
        return {pair.key: pair.value for pair in status.values} if status else {}

    @property
    def values(self) -> dict[str, str]:
        return {pair.key: pair.value for pair in self.statuses[-1].values} if self.statuses else {}

    def value(self, key: str) -> str | None:
        return self.values.get(key)

    def count(self, key: str) -> int:
        return int(self.values.get(key, "0"))

    def listen(self, message_type: type, topic: str, reliability: ReliabilityPolicy = RELIABLE) -> list:
        received: list = []
        self.node.create_subscription(
            message_type, topic, received.append, QoSProfile(depth=100, reliability=reliability)
        )
        return received

    def call(self, service_type: type, name: str, request):
        client = self.node.create_client(service_type, name)
        self.wait_until(client.service_is_ready, f"service {name}")
        future = client.call_async(request)
        self.wait_until(future.done, f"an answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def shut_down(self) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.kill(signal.SIGINT)
        for process in self.processes:
            try:
                process.popen.wait(PATIENCE_S)
            finally:
                process.popen.kill()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


class Camera:
    """Sends images whose red and green say the depth of a slanted plane in millimetres, and their CameraInfo."""

    size = (120, 160)
    k = (130.0, 130.0, 79.5, 59.5)
    plane = (0.2, -0.3, 1.0, 2.0)

    def __init__(
        self,
        robot: Robot,
        topic: str = "/image",
        info_topic: str = "/camera_info",
        reliability: ReliabilityPolicy = RELIABLE,
        frame_id: str = "camera_optical",
        image_type: type = Image,
    ):
        self._robot = robot
        self.frame_id = frame_id
        qos = QoSProfile(depth=50, reliability=reliability)
        self.images = robot.node.create_publisher(image_type, topic, qos)
        self.infos = robot.node.create_publisher(CameraInfo, info_topic, qos)
        self._stamp_ns = 0

    def stamp(self) -> Time:
        """Now, and never twice the same."""
        now_ns = self._robot.node.get_clock().now().nanoseconds
        self._stamp_ns = max(now_ns, self._stamp_ns + 1)
        return Time(sec=self._stamp_ns // 10**9, nanosec=self._stamp_ns % 10**9)

    def depth_m(self) -> np.ndarray:
        (height, width), (fx, fy, cx, cy), (nx, ny, nz, distance) = self.size, self.k, self.plane
        rows, columns = np.mgrid[:height, :width]
        return distance / (nx * (columns - cx) / fx + ny * (rows - cy) / fy + nz)

    def image(self, stamp: Time | None = None) -> Image:
        depth_mm = np.rint(self.depth_m() * 1000).astype(np.uint16)
        rgb = np.stack([depth_mm >> 8, depth_mm & 255, np.full_like(depth_mm, 7)], axis=-1).astype(np.uint8)
        height, width = self.size
        msg = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        msg.header.stamp, msg.header.frame_id = stamp or self.stamp(), self.frame_id
        msg.data.frombytes(rgb.tobytes())
        return msg

    def info(self, stamp: Time | None = None) -> CameraInfo:
        fx, fy, cx, cy = self.k
        msg = CameraInfo(height=self.size[0], width=self.size[1], distortion_model="plumb_bob", d=[0.0] * 5)
        msg.header.stamp, msg.header.frame_id = stamp or self.stamp(), self.frame_id
        msg.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
        msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        msg.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        return msg

    def send(self, with_info: bool = True) -> int:
        """Send one frame; returns its stamp in nanoseconds."""
        image = self.image()
        if with_info:
            self.infos.publish(self.info(image.header.stamp))
        self.images.publish(image)
        return nanoseconds(image)

    def send_until(self, condition: Callable[[], object], what: str, with_info: bool = True) -> None:
        """Send frames, as a live camera would."""
        next_s = 0.0

        def sent_and_true() -> bool:
            nonlocal next_s
            if condition():
                return True
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + 0.03
                self.send(with_info)
            return False

        self._robot.wait_until(sent_and_true, what)

    def connect(self, *listeners: list) -> None:
        """Send frames until every listener has heard one and the node is done with all; then empty the listeners."""
        self.send_until(lambda: all(listeners), "an output on every topic")
        for publisher in (self.infos, self.images):
            assert publisher.wait_for_all_acked(Duration(seconds=PATIENCE_S)), "the node never heard it"
        # What diagnostics call published may still be on its way here.
        self._robot.wait_until(
            lambda: self.is_settled() and self.is_quiet(listeners) and self.is_settled(),
            "all frames are accounted for, and the last of them has come",
        )
        for listener in listeners:
            listener.clear()

    def is_quiet(self, listeners: Sequence[list]) -> bool:
        heard = [len(listener) for listener in listeners]
        until_s = time.monotonic() + 0.3
        while time.monotonic() < until_s:
            self._robot.spin()
        return heard == [len(listener) for listener in listeners]

    def is_settled(self) -> bool:
        robot = self._robot
        robot.statuses.clear()
        for _ in range(200):
            robot.spin()
            if robot.statuses:
                break
        return bool(robot.statuses) and accounted_for(robot) == robot.count("received")


def accounted_for(robot: Robot) -> int:
    """Frames that have met their fate, by the node's own counts."""
    kinds = ("published", "dropped (newer frame came)", "limited (max_rate)", "unwatched (no subscriber)", "rejected")
    return sum(robot.count(kind) for kind in kinds)


def nanoseconds(msg) -> int:
    return msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec


def points_of(cloud: PointCloud2) -> np.ndarray:
    """(H, W, 3) float32, read by the fields' own offsets."""
    offsets = {field.name: field.offset for field in cloud.fields}
    raw = np.frombuffer(cloud.data, np.uint8).reshape(cloud.height, cloud.row_step)[:, : cloud.width * cloud.point_step]
    raw = raw.reshape(cloud.height, cloud.width, cloud.point_step)
    return np.stack([raw[..., offsets[axis] : offsets[axis] + 4].copy().view("<f4")[..., 0] for axis in "xyz"], -1)


def depth_of(image: Image) -> np.ndarray:
    dtype = {"32FC1": "<f4", "16UC1": "<u2"}[image.encoding]
    return np.frombuffer(image.data, dtype).reshape(image.height, image.width)
