"""What the listener has seen: every message recorded, judged alone and beside the others of the same image."""

from __future__ import annotations

from typing import Any

import numpy as np

from depth_estimation_ros.demo.checks import (
    Problem,
    cloud_on_depth_problems,
    info_problems,
    read_cloud,
    read_depth,
    stamp_ns,
    stream_problems,
)
from depth_estimation_ros.demo.recording import Recording

DEPTH, INFO, CLOUD = "depth/image_rect", "depth/camera_info", "depth/points"
LATEST = 3  # headers looked through for a stamp, newest last


class Witness:
    """Takes in the node's outputs in the order of their arrival; `problems` gives the verdict at the end."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._headers: dict[str, list[tuple[int, str]]] = {topic: [] for topic in (DEPTH, INFO, CLOUD)}
        self._infos: dict[int, Any] = {}
        self._problems: list[Problem] = []

    @property
    def counts(self) -> dict[str, int]:
        """How many messages have come, by topic."""
        return {topic: len(headers) for topic, headers in self._headers.items()}

    def has_all_of(self, stamp: int) -> bool:
        """Return whether all three outputs of the image with this stamp have come."""
        return all(any(stamp == seen for seen, _ in headers[-LATEST:]) for headers in self._headers.values())

    def take_depth(self, image: Any, arrival_ns: int) -> None:
        """Record and judge a depth image that came at `arrival_ns`."""
        stamp = self._note(DEPTH, image)
        depth_m, problems = read_depth(image)
        self._problems += problems
        if depth_m is not None:
            self._recording.write_depth(stamp, arrival_ns, depth_m)

    def take_info(self, info: Any) -> None:
        """Keep a CameraInfo until the end, when its depth image is there to judge it by."""
        self._infos[self._note(INFO, info)] = info

    def take_cloud(self, cloud: Any) -> None:
        """Record and judge a point cloud."""
        stamp = self._note(CLOUD, cloud)
        points_m, rgb, problems = read_cloud(cloud)
        self._problems += problems
        if points_m is not None and rgb is not None:
            self._recording.write_cloud(stamp, points_m, rgb)

    def problems(self) -> list[Problem]:
        """Return every broken rule: of each message, of each topic's stamps, and between outputs of one image."""
        sent = {image.stamp_ns: image for image in self._recording.sent()}
        problems = list(self._problems)
        for topic, headers in self._headers.items():
            problems += stream_problems(topic, headers, sent)
        for stamp, _ in self._recording.arrivals():
            if stamp not in self._infos:
                problems.append(Problem("a depth image has a camera_info of its stamp", f"{stamp} ns has none"))
                continue
            info, depth_m = self._infos[stamp], self._recording.depth(stamp)
            problems += info_problems(info, depth_m.shape)
            cloud = self._recording.cloud(stamp)
            if cloud is not None:
                problems += cloud_on_depth_problems(cloud[0], depth_m, np.array(info.k).reshape(3, 3))
        return problems

    def _note(self, topic: str, message: Any) -> int:
        stamp = stamp_ns(message)
        self._headers[topic].append((stamp, message.header.frame_id))
        return stamp
