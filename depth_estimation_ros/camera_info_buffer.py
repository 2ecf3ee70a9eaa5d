"""Which CameraInfo belongs to an image.

The policy: the one that carries the image's own stamp, else the latest. An image that comes before any CameraInfo
waits for one, up to a second after the first image; from then on images count as uncalibrated until one comes. A
CameraInfo of another frame_id is used all the same, with a remark: drivers often name the two differently, and its
topic was chosen on purpose.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from depth_estimation_ros.calibration import Calibration

FIRST_WAIT_S = 1.0
KEPT = 8


@dataclass(frozen=True)
class StampedCalibration:
    """One CameraInfo, read.

    Attributes:
        stamp_ns: Nanoseconds of the header's stamp.
        frame_id: The header's.
    """

    stamp_ns: int
    frame_id: str
    calibration: Calibration


class CameraInfoBuffer:
    """The last few CameraInfos of one camera; filled by a subscription, read by the worker thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._latest: deque[StampedCalibration] = deque(maxlen=KEPT)
        self._wait_until_s: float | None = None
        self.is_closed = False

    def put(self, msg: Any) -> None:
        """Take in a sensor_msgs/CameraInfo."""
        entry = StampedCalibration(
            stamp_ns=to_nanoseconds(msg.header.stamp),
            frame_id=msg.header.frame_id,
            calibration=Calibration.from_camera_info(msg),
        )
        with self._changed:
            self._latest.append(entry)
            self._changed.notify_all()

    def find(self, stamp: Any) -> StampedCalibration | None:
        """Find the CameraInfo for an image with this builtin_interfaces/Time; waits as the policy has it.

        Returns:
            None where there is none yet.
        """
        with self._changed:
            if self._wait_until_s is None:
                self._wait_until_s = time.monotonic() + FIRST_WAIT_S
            left_s = self._wait_until_s - time.monotonic()
            if left_s > 0:
                self._changed.wait_for(lambda: self._latest or self.is_closed, left_s)
            stamp_ns = to_nanoseconds(stamp)
            matching = (entry for entry in reversed(self._latest) if entry.stamp_ns == stamp_ns)
            return next(matching, self._latest[-1] if self._latest else None)

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()


def to_nanoseconds(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
