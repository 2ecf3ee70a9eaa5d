"""The heartbeat by which nav2's lifecycle manager notices that a node has died."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node


def form_bond(node: Node) -> Any | None:
    """Start a bond on `bond` under the node's name, as nav2's manager expects of an active node.

    Returns:
        A bondpy.bondpy.Bond, or None where bondpy is not installed.
    """
    try:
        from bondpy.bondpy import Bond
    except ImportError:
        node.get_logger().info("bondpy is not installed: set bond_timeout to 0.0 in nav2's lifecycle manager")
        return None
    bond = Bond(node, "bond", node.get_name())
    bond.start()
    return bond


def break_bond(node: Node, bond: Any | None) -> None:
    """End the heartbeat in good order; harmless without one."""
    if bond is None:
        return
    bond.shutdown()
    # bondpy destroys these two, but leaves them on the node's lists, which would grow with every activation.
    node.destroy_subscription(bond.sub)
    node.destroy_publisher(bond.pub)
