"""Clouds lost on their way to a best-effort listener in another process, and how long the others take.

    python benchmarks/transport_loss.py

Each size and transport in turn: Fast DDS as it comes, and as the depth node sets it up. A sender process publishes at a
steady rate, one frame deep and reliable, as the node does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from depth_estimation_ros.demo.processes import free_domain_id, ros_environment
from depth_estimation_ros.transport import size_segment

SIZES = {"320x240": (240, 320), "640x480": (480, 640), "1280x480": (480, 1280)}
"""Points of the clouds; of 16 bytes each."""
TRANSPORTS = ("stock", "package")
TOPIC = "points"
PATIENCE_S = 30.0


def send(size: tuple[int, int], transport: str, count: int, rate_hz: float) -> None:
    """Publish `count` clouds once somebody listens."""
    if transport == "package":
        from depth_estimation_ros.allocator import keep_freed_buffers
        from depth_estimation_ros.transport import provide_transport_profile

        keep_freed_buffers()
        remark = provide_transport_profile()
        if remark is not None:
            sys.exit(remark)
    import rclpy
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import Header

    from depth_estimation_ros.point_cloud import cloud_message

    rclpy.init()
    node = rclpy.create_node("sender")
    publisher = node.create_publisher(PointCloud2, TOPIC, QoSProfile(depth=1))
    depth_m, k = np.ones(size, np.float32), np.eye(3)
    give_up_s = time.monotonic() + PATIENCE_S
    while not publisher.get_subscription_count() and time.monotonic() < give_up_s:
        time.sleep(0.01)
    time.sleep(0.5)  # that the listener knows the sender, too
    for due_s in ticks(count, rate_hz):
        time.sleep(max(0.0, due_s - time.monotonic()))
        header = Header(stamp=node.get_clock().now().to_msg())
        publisher.publish(cloud_message(depth_m, k, header, stride=1))
    time.sleep(1.0)  # for the last one to be read
    rclpy.shutdown()


def ticks(count: int, rate_hz: float) -> Iterator[float]:
    """When each is due, by time.monotonic()."""
    start_s = time.monotonic()
    yield from (start_s + number / rate_hz for number in range(count))


def listen() -> None:
    """Print the milliseconds from stamp to arrival of each cloud, once the sender has come and gone."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import PointCloud2

    rclpy.init()
    node = rclpy.create_node("listener")
    latency_ms: list[float] = []

    def take(msg: PointCloud2) -> None:
        stamp_ns = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
        latency_ms.append((node.get_clock().now().nanoseconds - stamp_ns) / 1e6)

    node.create_subscription(PointCloud2, TOPIC, take, QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT))
    give_up_s = time.monotonic() + PATIENCE_S
    while not node.count_publishers(TOPIC) and time.monotonic() < give_up_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    while node.count_publishers(TOPIC):
        rclpy.spin_once(node, timeout_sec=0.1)
    print(json.dumps(latency_ms))
    rclpy.shutdown()


def measure(size_name: str, transport: str, count: int, rate_hz: float, folder: Path) -> list[float]:
    """Run a sender and a listener; milliseconds of what arrived."""
    environment = ros_environment(free_domain_id(), folder)
    for name in [name for name in environment if name.startswith(("FASTDDS_", "FASTRTPS_", "MALLOC_"))]:
        del environment[name]
    me = [sys.executable, os.path.abspath(__file__)]
    listener = subprocess.Popen([*me, "--listen"], env=environment, stdout=subprocess.PIPE, text=True)
    sending = ["--send", size_name, "--transport", transport, "--count", str(count), "--rate-hz", str(rate_hz)]
    try:
        subprocess.run([*me, *sending], env=environment, check=True)
        output, _ = listener.communicate(timeout=PATIENCE_S)
    finally:
        listener.kill()
    return json.loads(output)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="clouds of each size")
    parser.add_argument("--rate-hz", type=float, default=10.0)
    parser.add_argument("--send", choices=SIZES, help=argparse.SUPPRESS)
    parser.add_argument("--transport", choices=TRANSPORTS, help=argparse.SUPPRESS)
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        listen()
        return
    if arguments.send:
        send(SIZES[arguments.send], arguments.transport, arguments.count, arguments.rate_hz)
        return

    sized = size_segment()
    if sized.remark is not None:
        sys.exit(sized.remark)
    table = Table("cloud", "MB", "transport", "lost", "stamp to arrival p50 / p99, ms")
    with tempfile.TemporaryDirectory() as folder:
        for size_name, (height, width) in SIZES.items():
            for transport in TRANSPORTS:
                latency_ms = measure(size_name, transport, arguments.count, arguments.rate_hz, Path(folder))
                lost = f"{arguments.count - len(latency_ms)} of {arguments.count}"
                took = " / ".join(f"{ms:.1f}" for ms in np.quantile(latency_ms or [np.nan], (0.5, 0.99)))
                megabytes = f"{height * width * 16 / 1e6:.1f}"
                table.add_row(size_name, megabytes, transport, lost, took if latency_ms else "none came")
    Console().print(table, f"Shared memory of the package's transport: {sized.segment_bytes / 2**20:.0f} MB.")


if __name__ == "__main__":
    main()
