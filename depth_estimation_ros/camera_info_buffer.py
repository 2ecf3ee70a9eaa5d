"""Which CameraInfo belongs to an image.

The policy: the one that carries the image's own stamp, else the latest.

- Late: while a camera stamps both alike, an image waits up to 50 ms for its own. Once that was in vain the next hundred
  images do without: on a busy machine now and then one is lost and comes again much later, and it is the same anyhow.
- None at all: an image that comes before any waits up to a second after the first image, and up to four where somebody
  offers one; from then on images count as uncalibrated until one comes. A reliable subscription that misses the first
  packet hears nothing before the publisher's next heartbeat, which Fast DDS sends every three seconds.
- Another frame_id: it is used all the same, with a remark: drivers often name the two differently, and its topic was
  chosen on purpose.
- Time jumps back, as where a recording starts over: what is of the future by then is forgotten, and the images wait
  again, up to a second. If none comes the last one known still holds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from depth_estimation_ros.calibration import Calibration

FIRST_WAIT_S = 1.0
OFFERED_WAIT_S = 4.0
OWN_WAIT_S = 0.05
IMAGES_AFTER_VAIN_WAIT = 100
JUMP_NS = 1_000_000_000
"""An image whose stamp is this much before the last one's says that time has jumped back."""

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

    def __init__(self, is_offered: Callable[[], bool] = lambda: False) -> None:
        """Begin with none.

        Args:
            is_offered: Tells whether somebody publishes on the topic, though nothing has come.
        """
        self._is_offered = is_offered
        self._changed = threading.Condition()
        self._latest: deque[StampedCalibration] = deque(maxlen=KEPT)
        self._last_known: StampedCalibration | None = None
        self._wait_ends_s: tuple[float, float] | None = None  # for any at all, and where one is offered
        self._image_ns = 0
        self._are_stamped_alike = False
        self._images_without_wait = 0
        self.is_closed = False

    def put(self, msg: Any) -> None:
        """Take in a sensor_msgs/CameraInfo."""
        entry = StampedCalibration(
            stamp_ns=to_nanoseconds(msg.header.stamp),
            frame_id=msg.header.frame_id,
            calibration=Calibration.from_camera_info(msg),
        )
        with self._changed:
            self._forget_after(entry.stamp_ns)
            self._latest.append(entry)
            self._last_known = entry
            self._changed.notify_all()

    def wait_for(self, stamp: Any) -> None:
        """Wait, as the policy has it, for the CameraInfo of an image with this builtin_interfaces/Time."""
        stamp_ns = to_nanoseconds(stamp)
        with self._changed:
            self._note_image(stamp_ns)
            assert self._wait_ends_s is not None
            for end_s, is_worth_it in zip(self._wait_ends_s, (lambda: True, self._is_offered), strict=True):
                left_s = end_s - time.monotonic()
                if left_s > 0 and not self._latest and not self.is_closed and is_worth_it():
                    self._changed.wait_for(lambda: self._latest or self.is_closed, left_s)
            if self._images_without_wait > 0:
                self._images_without_wait -= 1
            elif self._are_stamped_alike and not self._changed.wait_for(
                lambda: self._own(stamp_ns) or self.is_closed, OWN_WAIT_S
            ):
                self._images_without_wait = IMAGES_AFTER_VAIN_WAIT

    def find(self, stamp: Any) -> StampedCalibration | None:
        """Find the CameraInfo for an image with this builtin_interfaces/Time; returns at once.

        Returns:
            None where there is none yet.
        """
        stamp_ns = to_nanoseconds(stamp)
        with self._changed:
            self._note_image(stamp_ns)
            own = self._own(stamp_ns)
            self._are_stamped_alike = own is not None
            return own or (self._latest[-1] if self._latest else self._last_known)

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def _own(self, stamp_ns: int) -> StampedCalibration | None:
        return next((entry for entry in reversed(self._latest) if entry.stamp_ns == stamp_ns), None)

    def _note_image(self, stamp_ns: int) -> None:
        jumps_back = 0 < stamp_ns < self._image_ns - JUMP_NS  # a stamp of zero says nothing
        if jumps_back:
            self._forget_after(stamp_ns)
            self._images_without_wait = 0
        if jumps_back or self._wait_ends_s is None:
            now_s = time.monotonic()
            # A jump makes no new subscription, which might have missed something.
            offered_wait_s = OFFERED_WAIT_S if self._last_known is None else FIRST_WAIT_S
            self._wait_ends_s = (now_s + FIRST_WAIT_S, now_s + offered_wait_s)
        self._image_ns = stamp_ns or self._image_ns

    def _forget_after(self, stamp_ns: int) -> None:
        self._latest = deque((entry for entry in self._latest if entry.stamp_ns <= stamp_ns), maxlen=KEPT)


def to_nanoseconds(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
