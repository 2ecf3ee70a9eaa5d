"""The node as a process: signals, spinning, exit status.

ROS runs in a thread of its own, and the main thread does nothing but wait. So a signal is heard at once even while a
model is being loaded, and what cannot be interrupted is left behind after a moment instead of being waited for.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from depth_estimation_ros.allocator import keep_freed_buffers
from depth_estimation_ros.transport import is_fast_dds, provide_transport_profile

if TYPE_CHECKING:
    from rclpy.task import Future

    from depth_estimation_ros.node import DepthNode

GRACE_S = 1.2
"""Seconds that a stopping node may take to finish its frame and leave the ROS graph."""

WAKE_S = 0.1
"""A signal is noticed after this long at the latest."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(args: list[str] | None = None) -> int:
    """Run the node; quiet about signals even while the libraries are still being imported."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))
    from depth_estimation_ros.node import DepthNode

    return run(DepthNode, args)


def run(make_node: Callable[[], DepthNode], args: list[str] | None = None) -> int:
    """Run a node until a signal comes; to be called from the main thread.

    Args:
        make_node: Makes the node once ROS is initialised.
        args: Command line, by default this process's own.

    Returns:
        The exit status: 1 if the node cannot be made, or cannot be brought up under autostart; 0 otherwise.
    """
    keep_freed_buffers()
    # A SimpleQueue may be filled from a signal handler; an Event may not, its lock is not reentrant.
    ended: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: ended.put(None))
    from rclpy.task import Future

    stop: Future = Future()
    ros = threading.Thread(target=lambda: ended.put(_serve(make_node, args, stop)), name="ros", daemon=True)
    ros.start()
    status = _wait_for(ended)
    # Python puts SIGINT's default back while it ends: an impatient second Ctrl-C would show as a killed process.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if status is None:
        status = 0
        stop.set_result(None)
    ros.join(GRACE_S)
    if ros.is_alive():
        sys.stderr.flush()
        os._exit(status)
    return status


def _wait_for(ended: queue.SimpleQueue[int | None]) -> int | None:
    """Wait in short steps: a signal that another thread takes does not wake this one, which alone runs handlers."""
    while True:
        try:
            return ended.get(timeout=WAKE_S)
        except queue.Empty:
            continue


def _serve(make_node: Callable[[], DepthNode], args: list[str] | None, stop: Future) -> int:
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.logging import LoggingSeverity
    from rclpy.signals import SignalHandlerOptions

    node, executor = None, None
    try:
        transport_remark = provide_transport_profile()
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        logging.getLogger(__package__).addHandler(_RosLogHandler(node.get_logger()))
        is_debugged = node.get_logger().is_enabled_for(LoggingSeverity.DEBUG)
        logging.getLogger(__package__).setLevel(logging.DEBUG if is_debugged else logging.INFO)
        if transport_remark is not None and is_fast_dds(rclpy.get_rmw_implementation_identifier()):
            node.get_logger().warning(transport_remark)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        if node.autostart and not node.bring_up():
            return 1
        executor.spin_until_future_complete(stop)
    except ExternalShutdownException:
        pass
    except Exception as error:
        print(f"depth_estimation cannot run: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.destroy_node()
        if executor is not None:
            executor.shutdown()
        rclpy.try_shutdown()
    return 0


class _RosLogHandler(logging.Handler):
    """Passes what the libraries log on to the node's logger."""

    def __init__(self, logger: Any):
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        # One line for each: rclpy refuses a place in the code that logs at changing levels.
        if record.levelno >= logging.ERROR:
            self._logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        elif record.levelno >= logging.INFO:
            self._logger.info(record.getMessage())
        else:
            self._logger.debug(record.getMessage())


if __name__ == "__main__":
    sys.exit(main())
