"""What one camera's scan is, and who else has to do with its topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import LaserScan

from depth_estimation_ros.doctor.camera_checks import ImageFacts
from depth_estimation_ros.doctor.collector import SCAN_TOPIC, Collector
from depth_estimation_ros.doctor.node_checks import NodeFacts
from depth_estimation_ros.doctor.scan_checks import ScanFacts


class ScanListener:
    """Hears the scan where the node can make one: otherwise there is none to hear, or it is another sensor's."""

    def __init__(self, collector: Collector, node: NodeFacts, parameters: Mapping[str, Any]):
        self._collector = collector
        self._topic = node.values.get(SCAN_TOPIC, "")
        publishers = {publisher.node for publisher in collector.publishers(self._topic)} if self._topic else set()
        self._optical_frame = parameters["optical_frame"]
        self._others = tuple(sorted(publishers - {node.name}))
        self._mounting = "scan.frame" if parameters["scan.frame"] else ""
        if not self._mounting and parameters["camera_height"]:
            self._mounting = "camera_height and camera_pitch"
        topics = [self._topic] if self._topic and self._mounting and not self._others else []
        self._scans, self.close = collector.hear(LaserScan, topics)

    def facts(self, image: ImageFacts) -> ScanFacts:
        """What was heard beside these images."""
        ranges_m = [np.asarray(scan.ranges) for scan in self._scans]
        return ScanFacts(
            topic=self._topic,
            subscribers=self._collector.subscribers(self._topic) if self._topic else (),
            other_publishers=self._others,
            mounting=self._mounting,
            scan_count=None if image.encoding is None else len(self._scans),
            known_share=float(np.mean(np.concatenate(ranges_m) > 0)) if ranges_m else 0.0,
            frame_id=self._scans[-1].header.frame_id if self._scans else "",
            camera_frame=self._optical_frame or image.frame_id,
            edges=self._collector.edges,
        )
