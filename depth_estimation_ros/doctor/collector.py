"""What the robot as a whole says: diagnostics, tf, parameters, and who is connected to whom."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import CameraInfo

from depth_estimation_ros.doctor.camera_checks import PublisherFacts
from depth_estimation_ros.doctor.node_checks import NodeFacts, OutputFacts, SubscriberFacts
from depth_estimation_ros.doctor.transform_checks import Edge

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # PyPI has none
    TFMessage = None

# The key by which a status on /diagnostics is known for one of ours.
IMAGE_TOPIC = "image topic"
DEPTH_INFO_TOPIC = "depth/camera_info topic"
SCAN_TOPIC = "scan topic"

ANSWER_S = 5.0


class Collector:
    """Listens to diagnostics and tf from the moment it is made."""

    def __init__(self, node: Node):
        self._node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._first: dict[str, DiagnosticStatus] = {}
        self._last: dict[str, DiagnosticStatus] = {}
        self.edges: dict[str, Edge] | None = None if TFMessage is None else {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        if TFMessage is not None:
            latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            node.create_subscription(TFMessage, "/tf_static", self._on_transforms, latched)
            # Best effort hears both kinds of publisher; a transform that is lost comes again.
            lossy = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
            node.create_subscription(TFMessage, "/tf", self._on_transforms, lossy)

    def listen(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        """Take in what comes, for so long or until something is true."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not until():
            self._executor.spin_once(timeout_sec=0.05)

    @property
    def nodes(self) -> dict[str, NodeFacts]:
        """What the depth nodes say of themselves, by the names of their statuses."""
        return {
            key: NodeFacts(
                name="/" + key.partition(":")[0].lstrip("/"),
                level=_level(status),
                message=status.message,
                values=_values(status),
                earlier=_values(self._first[key]),
                camera=camera_of(key),
            )
            for key, status in sorted(self._last.items())
        }

    def parameters(self, node_name: str, names: list[str]) -> dict[str, Any]:
        """Ask a node; what it does not answer in time, or does not have, is left out."""
        client: Any = self._node.create_client(GetParameters, f"{node_name}/get_parameters")
        try:
            self.listen(ANSWER_S, client.service_is_ready)
            if not client.service_is_ready():
                return {}
            future = client.call_async(GetParameters.Request(names=names))
            self.listen(ANSWER_S, future.done)
            answer = future.result() if future.done() else None
        finally:
            self._node.destroy_client(client)
        values = [] if answer is None else [parameter_value_to_python(value) for value in answer.values]
        return {name: value for name, value in zip(names, values, strict=False) if value is not None}

    def publishers(self, topic: str) -> tuple[PublisherFacts, ...]:
        """Who publishes a topic."""
        return tuple(
            PublisherFacts(
                _full_name(info), info.qos_profile.reliability == ReliabilityPolicy.RELIABLE, info.topic_type
            )
            for info in self._node.get_publishers_info_by_topic(topic)
        )

    def outputs(self, node_name: str) -> list[OutputFacts]:
        """The sensor messages that a node publishes, and whether their subscribers can hear them."""
        topics = self._published(node_name)
        return [self._output(topic, node_name) for topic, types in topics if types[0].startswith("sensor_msgs/")]

    def _published(self, node_name: str) -> list[tuple[str, list[str]]]:
        namespace, _, name = node_name.rpartition("/")
        # rclpy raises for a node that is not there; its diagnostics may come from a recording, or it has just ended.
        if (name, namespace or "/") not in self._node.get_node_names_and_namespaces():
            return []
        return self._node.get_publisher_names_and_types_by_node(name, namespace or "/")

    def watch(self, node_name: str, values: Mapping[str, str]) -> tuple[list[CameraInfo], Callable[[], None]]:
        """Listen to the smallest of one camera's outputs: where nobody else does, the node would compute none.

        Args:
            node_name: With its namespace.
            values: Of the camera's status.

        Returns:
            What comes, and what to call when that is enough.
        """
        topics = [
            topic
            for topic, types in self._published(node_name)
            if types[0] == "sensor_msgs/msg/CameraInfo" and topic == values.get(DEPTH_INFO_TOPIC, topic)
        ]
        return self.hear(CameraInfo, topics)

    def hear(self, message_type: type, topics: list[str]) -> tuple[list[Any], Callable[[], None]]:
        """Listen to topics; what comes, and what to call when that is enough."""
        received: list[Any] = []
        # Best effort hears publishers of either kind.
        subscriptions = [
            self._node.create_subscription(message_type, topic, received.append, qos_profile_sensor_data)
            for topic in topics
        ]

        def close() -> None:
            for subscription in subscriptions:
                self._node.destroy_subscription(subscription)

        return received, close

    def subscribers(self, topic: str) -> tuple[str, ...]:
        """Who listens to a topic, the doctor apart."""
        names = {_full_name(info) for info in self._node.get_subscriptions_info_by_topic(topic)}
        return tuple(sorted(names - {self._node.get_fully_qualified_name()}))

    def _output(self, topic: str, node_name: str) -> OutputFacts:
        offers = [
            info.qos_profile for info in self._node.get_publishers_info_by_topic(topic) if _full_name(info) == node_name
        ]
        subscribers = []
        for info in self._node.get_subscriptions_info_by_topic(topic):
            if _full_name(info) == self._node.get_fully_qualified_name():
                continue
            verdicts = [qos_check_compatible(offer, info.qos_profile) for offer in offers]
            reasons = [reason for verdict, reason in verdicts if verdict == QoSCompatibility.ERROR]
            subscribers.append(SubscriberFacts(_full_name(info), "; ".join(reasons).strip("; ")))
        return OutputFacts(topic, tuple(subscribers))

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if IMAGE_TOPIC in _values(status):
                self._first.setdefault(status.name, status)
                self._last[status.name] = status

    def _on_transforms(self, msg: Any) -> None:
        if self.edges is not None:
            self.edges |= edges_of(msg)


def camera_of(status_name: str) -> str:
    """Which of a node's several cameras a status is of; "" for the only one."""
    found = re.search(r": camera (\w+) to depth$", status_name)
    return found[1] if found else ""


def edges_of(msg: Any) -> dict[str, Edge]:
    """The transforms of a tf2_msgs/TFMessage by child frame; a leading slash, which tf does not know, is cut off."""
    edges = {}
    for transform in msg.transforms:
        turn = transform.transform.rotation
        parent, child = transform.header.frame_id.lstrip("/"), transform.child_frame_id.lstrip("/")
        edges[child] = Edge(parent, (turn.x, turn.y, turn.z, turn.w))
    return edges


def _full_name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def _values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def _level(status: DiagnosticStatus) -> Any:
    names = {DiagnosticStatus.OK: "OK", DiagnosticStatus.WARN: "WARN"}
    return names.get(status.level, "ERROR")
