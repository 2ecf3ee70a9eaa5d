"""Requests to change state that do not fit the state: an answer on every distribution."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode

from depth_estimation_ros.inference.errors import first_line


def answer_misfits(node: LifecycleNode) -> None:
    """Answer such a request with failure and one logged sentence, whatever rclpy does.

    Until Kilted rclpy lets the error of CONFIGURE on an active node through to the executor, which ends the process.

    Args:
        node: Its service is changed in place.
    """
    service = node._service_change_state
    answer = service.callback

    def answer_or_refuse(request: Any, response: Any) -> Any:
        try:
            return answer(request, response)
        except RuntimeError as error:  # rclpy's RCLError is one, and what a transition itself raises is caught there
            label = request.transition.label or f"of id {request.transition.id}"
            node.get_logger().error(f"a transition {label} was asked for, which does not fit: {first_line(error)}")
            response.success = False
            return response

    service.callback = answer_or_refuse
