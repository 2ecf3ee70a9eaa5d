"""Subscriptions that hear every camera: reliable where it offers that, best effort where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks  # type: ignore[no-redef]


def qos_overrides(node: Node, topic: str, entity: Literal["publisher", "subscription"]) -> QoSOverridingOptions | None:
    """Make the policies overridable for which the user gave a `qos_overrides.<topic>.<entity>.<policy>` parameter.

    rclpy can declare all of them, but those parameters are read-only and would pin the reliability that has to follow
    the camera. Nobody but a user who asks for that should get it.

    Returns:
        None where the user gave none.
    """
    prefix = f"qos_overrides.{node.resolve_topic_name(topic)}.{entity}"
    not_overridable = {QoSPolicyKind.INVALID}
    if entity == "subscription":
        not_overridable.add(QoSPolicyKind.LIFESPAN)
    given = [
        policy
        for policy in QoSPolicyKind
        if policy not in not_overridable and _is_given(node, f"{prefix}.{policy.name.lower()}")
    ]
    return QoSOverridingOptions(given) if given else None


def _is_given(node: Node, name: str) -> bool:
    if node.has_parameter(name):  # declared at an earlier activation, and read-only since
        return True
    value = node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True)).value
    node.undeclare_parameter(name)
    return value is not None


class AdaptiveSubscription:
    """A subscription whose reliability follows what the topic's publishers offer.

    A reliable subscription is deaf to a best-effort publisher, and a best-effort one loses large messages that a
    reliable publisher would have sent again.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        depth: int = 1,
        hears_earlier: bool = False,
    ):
        """Subscribe.

        Args:
            node: What the subscription belongs to.
            message_type: Of the topic.
            topic: Before remaps.
            callback: Takes a message.
            depth: Messages that may wait for the callback.
            hears_earlier: Whether to be told what was published before, where all publishers keep that (transient
                local): of a camera that sends its CameraInfo once.
        """
        self.topic = node.resolve_topic_name(topic)
        self._node = node
        self._message_type = message_type
        self._given_topic = topic
        self._callback = callback
        self._depth = depth
        self._hears_earlier = hears_earlier
        self._overrides = qos_overrides(node, topic, "subscription")
        offered = self._offered()
        # While no publisher is known, the middleware itself may see one a moment later; Humble cannot ask it to look.
        unknown = getattr(ReliabilityPolicy, "BEST_AVAILABLE", ReliabilityPolicy.RELIABLE)
        self._followed = offered or (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
        self._subscription = self._create(*(offered or (unknown, DurabilityPolicy.VOLATILE)))

    @property
    def kind(self) -> str:
        """How it is subscribed, in words, with what the user overrides."""
        qos = self._subscription.qos_profile
        is_unknown = qos.reliability.name == "BEST_AVAILABLE"
        return _in_words(self._followed[0] if is_unknown else qos.reliability, qos.durability)

    def follow(self) -> None:
        """Subscribe again if the publishers offer another quality of service by now; cheap where they do not."""
        offered = self._offered()
        if self._is_pinned or offered is None or offered == self._followed:
            return
        self._node.get_logger().info(f"{self.topic} is offered {_in_words(*offered)}: subscribing to it so")
        self._node.destroy_subscription(self._subscription)
        self._followed = offered
        self._subscription = self._create(*offered)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    @property
    def _is_pinned(self) -> bool:
        return self._overrides is not None and QoSPolicyKind.RELIABILITY in self._overrides.policy_kinds

    def _create(self, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> Subscription:
        return self._node.create_subscription(
            self._message_type,
            self._given_topic,
            self._callback,
            QoSProfile(depth=self._depth, reliability=reliability, durability=durability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda event: self.follow()),
            qos_overriding_options=self._overrides,
        )

    def _offered(self) -> tuple[ReliabilityPolicy, DurabilityPolicy] | None:
        """What all publishers together offer; None where none is known yet."""
        offers = [info.qos_profile for info in self._node.get_publishers_info_by_topic(self.topic)]
        if not offers:
            return None
        if any(offer.reliability != ReliabilityPolicy.RELIABLE for offer in offers):
            return ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE
        keep = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        hears_earlier = self._hears_earlier and keep
        return (
            ReliabilityPolicy.RELIABLE,
            DurabilityPolicy.TRANSIENT_LOCAL if hears_earlier else DurabilityPolicy.VOLATILE,
        )


def _in_words(reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> str:
    keeps = ", transient local" if durability == DurabilityPolicy.TRANSIENT_LOCAL else ""
    return reliability.name.lower().replace("_", " ") + keeps
