"""A stand-in for the node that publishes a slanted plane as depth, right in all but what DEMO_FAULT names.

The demo's tests run it as a process, to see that the demo notices.
"""

from __future__ import annotations

import contextlib
import os
import sys
from copy import deepcopy

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

HFOV_DEG = 60.0


def messages(fault: str, header: Header, height: int = 60, width: int = 80) -> list[Image | CameraInfo | PointCloud2]:
    """What is published for an image with this header, in order."""
    depth_m = np.tile(np.linspace(1.0, 3.0, height, dtype=np.float32)[:, None], (1, width))
    depth_m[1, 1] = np.nan
    f = width / 2 / np.tan(np.radians(HFOV_DEG) / 2)
    k = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])
    v, u = np.mgrid[1:height:2, 1:width:2]
    z = depth_m[v, u]
    points = np.stack([(u - k[0, 2]) / f * z, (v - k[1, 2]) / f * z, z, np.zeros_like(z)], axis=-1, dtype=np.float32)
    _spoil_values(fault, depth_m, points)

    depth = Image(header=deepcopy(header), height=height, width=width, encoding="32FC1", step=4 * width)
    depth.data.frombytes(depth_m.tobytes())
    info = CameraInfo(header=deepcopy(header), height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k, info.r = k.ravel().tolist(), np.eye(3).ravel().tolist()
    info.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
    fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(("x", "y", "z", "rgb"))]
    cloud = PointCloud2(header=deepcopy(header), height=points.shape[0], width=points.shape[1], fields=fields)
    cloud.point_step, cloud.row_step, cloud.is_dense = 16, 16 * points.shape[1], False
    cloud.data.frombytes(points.tobytes())
    _spoil_messages(fault, depth, info, cloud)

    left_out = {"depth_missing": depth, "info_missing": info, "cloud_missing": cloud}.get(fault)
    repeated = [depth] if fault == "twice" else []
    return [message for message in (depth, info, cloud, *repeated) if message is not left_out]


def _spoil_values(fault: str, depth_m: np.ndarray, points: np.ndarray) -> None:
    if fault == "zeros":
        depth_m[3, 4] = 0.0
    elif fault == "negative":
        depth_m[2, 2] = -1.0
    elif fault == "empty":
        depth_m[:], points[..., :3] = np.nan, np.nan
    elif fault == "off_the_pixels":
        points[..., 0] += 0.02
    elif fault == "another_depth":
        points *= 1.01
    elif fault == "half_a_point":
        points[2, 2, 0] = np.nan
    elif fault == "infinite_point":
        points[2, 2, :3] = np.inf
    elif fault == "behind":
        points[2, 2, :3] *= -1
    elif fault == "zero_point":
        points[2, 2, :3] = 0
    elif fault == "alpha":
        points.view(np.uint32)[..., 3] = 0xFF102030


def _spoil_messages(fault: str, depth: Image, info: CameraInfo, cloud: PointCloud2) -> None:
    if fault == "encoding":
        depth.encoding = "64FC1"
    elif fault == "short":
        depth.data = depth.data[:-4]
    elif fault == "frame":
        cloud.header.frame_id = "elsewhere"
    elif fault == "stamp":
        depth.header.stamp.nanosec ^= 1
    elif fault == "info_size":
        info.width *= 2
    elif fault == "info_p":
        info.p = [value * 2 for value in info.p]
    elif fault == "info_r":
        info.r = np.diag([1.0, -1.0, -1.0]).ravel().tolist()
    elif fault == "distortion":
        info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    elif fault == "binning":
        info.binning_x = 2
    elif fault == "unorganized":
        cloud.width, cloud.height, cloud.row_step = cloud.width * cloud.height, 1, len(cloud.data)
    elif fault == "fields":
        cloud.fields = cloud.fields[:2]
    elif fault == "cloud_short":
        cloud.data = cloud.data[:-16]
    elif fault == "dense":
        cloud.is_dense = True


class FaultyNode(Node):
    """Answers every image at once."""

    def __init__(self, fault: str) -> None:
        super().__init__("depth_estimation")
        self.fault = fault
        self.outputs = {}
        if fault != "silent":
            topics = {Image: "depth/image_rect", CameraInfo: "depth/camera_info", PointCloud2: "depth/points"}
            self.outputs = {kind: self.create_publisher(kind, topic, 2) for kind, topic in topics.items()}
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self.create_timer(0.2, self.diagnose)
        if fault != "deaf":
            self.create_subscription(Image, "image", self.answer, 5)
            self.create_subscription(CameraInfo, "/demo_camera/camera_info", lambda message: None, 5)

    def diagnose(self) -> None:
        self.diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name="depth_estimation: double")]))

    def answer(self, image: Image) -> None:
        if self.fault == "dies_later":
            sys.exit(8)
        if self.fault != "mute":
            for message in messages(self.fault, image.header, image.height // 2, image.width // 2):
                self.outputs[type(message)].publish(message)


if __name__ == "__main__":
    fault = os.environ["DEMO_FAULT"]
    print(f"this node has the fault {fault}", flush=True)
    if fault == "dies":
        sys.exit(7)
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(FaultyNode(fault))
