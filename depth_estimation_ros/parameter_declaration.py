"""The parameters as ROS sees them: declared with descriptors and ranges."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_estimation_ros.parameters import RULES, ParameterError, ParameterRule


def declare(node: Node) -> None:
    """Declare all parameters, with descriptors, whatever values the user gave.

    A value that breaks its rule is kept, so that configure can name it and the user can correct it; only its descriptor
    goes without type and range, which rclpy would otherwise enforce by an exception here.
    """
    for rule in RULES.values():
        loose = ParameterDescriptor(description=rule.description, dynamic_typing=True)
        given: Any = node.declare_parameter(rule.name, rule.default, loose).value
        try:
            checked = rule.check(given)
        except ParameterError:
            continue
        if type(checked) is not type(given):
            node.set_parameters([Parameter(rule.name, _ros_type(rule), checked)])
        node.set_descriptor(rule.name, _descriptor(rule))


def _descriptor(rule: ParameterRule) -> ParameterDescriptor:
    effect = {"live": "Takes effect at once.", "configure": "Takes effect on the next configure."}
    descriptor = ParameterDescriptor(
        description=f"{rule.description} {effect.get(rule.applies, 'Read at start only.')}",
        type=_ros_type(rule).value,
        additional_constraints=f"one of: {', '.join(rule.choices)}" if rule.choices else "",
        read_only=rule.applies == "start",
        # rclpy would refuse the integer of `ros2 param set … max_range 5`, and any other type by number; `check` takes
        # the one for a float and says in words what is wrong with the others.
        dynamic_typing=True,
    )
    if rule.least is not None and rule.greatest is not None:
        if type(rule.default) is int:
            descriptor.integer_range = [IntegerRange(from_value=int(rule.least), to_value=int(rule.greatest))]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(rule.least), to_value=float(rule.greatest))
            ]
    return descriptor


def _ros_type(rule: ParameterRule) -> Parameter.Type:
    if isinstance(rule.default, tuple):  # rclpy takes an empty one for bytes
        return Parameter.Type.STRING_ARRAY
    return Parameter.Type.from_parameter_value(rule.default)


def current_values(node: Node) -> dict[str, Any]:
    """Read all parameters as they stand, valid or not."""
    return {name: node.get_parameter(name).value for name in RULES}
