"""The demo's listener: takes depth and clouds best effort, like nav2's costmaps, records and judges what arrives."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_estimation_ros.demo.checks import in_words
from depth_estimation_ros.demo.recording import Recording, planned_recording
from depth_estimation_ros.demo.witness import CLOUD, DEPTH, INFO, Witness

NODE_NAME = "depth_estimation"
SETTLE_S = 0.5  # matched here, the node's side may still be a moment behind
QUIET_S = 6.0  # nothing more is coming after this long, once the camera has ended
LAST_DIAGNOSTICS_S = 4.0


class Listener(Node):
    """Hands every output of the node to a witness, and keeps the latest diagnostics, by key."""

    def __init__(self, witness: Witness) -> None:
        super().__init__("demo_listener")
        self._witness = witness
        self.diagnostics: dict[str, str] = {}
        self.last_output_s = self.last_diagnostics_s = 0.0
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, DEPTH, self._on_depth, qos)
        # Reliable: one lost on the way would look like one that was never sent.
        self.create_subscription(CameraInfo, INFO, self._on_info, 10)
        self.create_subscription(PointCloud2, CLOUD, self._on_cloud, qos)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def matched(self) -> bool:
        """Return whether the node publishes all three outputs and its diagnostics arrive."""
        return all(self.count_publishers(topic) for topic in (DEPTH, INFO, CLOUD)) and self.last_diagnostics_s > 0.0

    def _on_depth(self, message: Image) -> None:
        self._witness.take_depth(message, self.get_clock().now().nanoseconds)
        self.last_output_s = time.monotonic()

    def _on_info(self, message: CameraInfo) -> None:
        self._witness.take_info(message)
        self.last_output_s = time.monotonic()

    def _on_cloud(self, message: PointCloud2) -> None:
        self._witness.take_cloud(message)
        self.last_output_s = time.monotonic()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if NODE_NAME in status.name:
                self.last_diagnostics_s = time.monotonic()
                self.diagnostics = {pair.key: pair.value for pair in status.values}


def _spin_until(listener: Listener, condition: Callable[[], bool], timeout_s: float = float("inf")) -> None:
    """Handle messages until the condition holds, the time is over, or the process is told to end."""
    end_s = time.monotonic() + timeout_s
    while rclpy.ok() and not condition() and time.monotonic() < end_s:
        rclpy.spin_once(listener, timeout_sec=0.05)


def listen(recording: Recording, witness: Witness, listener: Listener, timeout_s: float) -> None:
    """Take part from before the first image until nothing more can come."""
    _spin_until(listener, listener.matched)
    _spin_until(listener, lambda: False, SETTLE_S)
    recording.mark("listener_ready")
    _spin_until(listener, lambda: recording.marked("camera_done"))
    if not rclpy.ok():
        return
    done_s, last_stamp = time.monotonic(), recording.sent()[-1].stamp_ns

    def complete() -> bool:
        quiet_s = time.monotonic() - max(listener.last_output_s, done_s)
        return witness.has_all_of(last_stamp) or quiet_s > (QUIET_S if listener.last_output_s else timeout_s)

    _spin_until(listener, complete)
    end_s = time.monotonic()
    _spin_until(listener, lambda: listener.last_diagnostics_s > end_s, LAST_DIAGNOSTICS_S)


def main() -> int:
    """Listen until the camera has ended; 0 when every check holds, 1 when one does not, 130 when stopped."""
    recording, plan = planned_recording(__doc__)
    try:
        rclpy.init()
        witness = Witness(recording)
        listener = Listener(witness)
        listen(recording, witness, listener, plan["timeout_s"])
        if not rclpy.ok():
            return 130
        failures = in_words(witness.problems())
        report = {"failures": failures, "counts": witness.counts, "diagnostics": listener.diagnostics}
        recording.write_json("report", report)
        return 1 if failures else 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    except OSError as error:
        print(f"The listener stops: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
