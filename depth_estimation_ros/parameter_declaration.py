"""The parameters as ROS sees them: declared with descriptors and ranges."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_estimation_ros.parameter_rule import ParameterError, ParameterRule
from depth_estimation_ros.parameters import RULES, own_rules

UNSET_TEXTS = ("null", "None")
"""What becomes of an unset parameter on its way through a file of `ros2 param dump`, at start and by `param load`."""


class DeclaredParameters:
    """All parameters of a node, declared with descriptors whatever values the user gave.

    A value that breaks its rule is kept, so that configure can name it and the user can correct it; only its descriptor
    goes without type and range, which rclpy would otherwise enforce by an exception here.

    Attributes:
        rules: By name, of all that is declared.
    """

    def __init__(self, node: Node):
        self.rules: dict[str, ParameterRule] = {}
        self._node = node
        for rule in RULES.values():
            self._declare(rule, rule.default)
        self.declare_own()
        # Humble has no such callback, and keeps the type that was given.
        add_callback = getattr(node, "add_pre_set_parameters_callback", None)
        if add_callback is not None:
            add_callback(lambda changes: [self._in_declared_type(change) for change in changes])
            node.add_post_set_parameters_callback(self._declare_deleted)

    def declare_own(self) -> None:
        """Declare what each of the present `cameras` may have for itself, unset where the user gave none."""
        try:
            cameras = RULES["cameras"].check(self.values().get("cameras"))
        except ParameterError:  # configure will say so
            return
        for rule in own_rules(cameras).values():
            if not self._node.has_parameter(rule.name):
                self._declare(rule, None)

    def values(self) -> dict[str, Any]:
        """Read them as they stand, valid or not; None where a camera has none of its own."""
        present = {name: self._node.get_parameter(name).value for name in self.rules if self._node.has_parameter(name)}
        return {name: meant(name, value) for name, value in present.items()}

    def _declare_deleted(self, changes: list[Parameter]) -> None:
        """`ros2 param delete` undeclares; what a camera has not for itself is declared all the same, and unset."""
        for name in (change.name for change in changes if change.name in self.rules):
            if not self._node.has_parameter(name):
                default = RULES[name].default if name in RULES else None
                self._declare(self.rules[name], default, ignore_override=True)

    def _declare(self, rule: ParameterRule, default: Any, ignore_override: bool = False) -> None:
        self.rules[rule.name] = rule
        loose = ParameterDescriptor(description=rule.description, dynamic_typing=True)
        given: Any = self._node.declare_parameter(rule.name, default, loose, ignore_override).value
        if given is not None and meant(rule.name, given) is None:
            self._node.undeclare_parameter(rule.name)
            given = self._node.declare_parameter(rule.name, None, loose, ignore_override=True).value
        if default is not None or given is not None:
            try:
                checked = rule.check(given)
            except ParameterError:
                return
            if type(checked) is not type(given):
                self._node.set_parameters([Parameter(rule.name, _ros_type(rule), checked)])
        self._node.set_descriptor(rule.name, _descriptor(rule))

    def _in_declared_type(self, change: Parameter) -> Parameter:
        """Make a float of `ros2 param set … max_range 5`, and text of a switch; what breaks its rule stays as it is."""
        rule = self.rules.get(change.name)
        if rule is None:
            return change
        if change.value is not None and meant(change.name, change.value) is None:
            return Parameter(change.name, Parameter.Type.NOT_SET)
        if change.type_ == _ros_type(rule):
            return change
        try:
            return Parameter(rule.name, _ros_type(rule), rule.check(change.value))
        except ParameterError:
            return change


def meant(name: str, value: Any) -> Any:
    """The value, but None for a text that says unset of what a camera may have for itself."""
    return None if name not in RULES and value in UNSET_TEXTS else value


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
