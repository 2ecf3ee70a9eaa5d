"""The newest frame and the one thread that works on it: whoever is too slow loses frames, never time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

FrameT = TypeVar("FrameT")

Rest = Callable[[], None]


class FrameWorker(Generic[FrameT]):
    """One slot between a subscription and a worker thread.

    A frame waits in the slot while the one before it is worked on; a newer one takes its place. So the work never lags
    more than one frame behind, however slow it is, and no frame is worked on twice.

    `submit` returns at once and may be called from any thread. Each method that can lose a frame says so, which makes
    an exact count possible: submitted = processed + failed + lost + `in_flight`.
    """

    def __init__(
        self,
        process: Callable[[FrameT], Rest | None],
        on_error: Callable[[Exception], None],
        turn: Callable[[FrameT], AbstractContextManager[None]] = lambda frame: nullcontext(),
    ):
        """Prepare a worker that is not running yet.

        Args:
            process: Works on one frame, in the worker thread, while it is this worker's turn. It may return what is
                left to do for this frame once the turn is over.
            on_error: Told of each exception that `process` and its rest raise, in the worker thread; the next frame is
                taken then.
            turn: Given the frame that waits, what has to be entered before one is taken. It may block: whichever
                frame is the newest by then is the one that is worked on.
        """
        self._process = process
        self._on_error = on_error
        self._turn = turn
        self._changed = threading.Condition()
        self._waiting: list[FrameT] = []  # the slot: at most one
        self._busy = False
        self._running = False
        self._thread: threading.Thread | None = None

    @property
    def in_flight(self) -> int:
        """Frames taken in and neither finished nor lost: 0 to 2."""
        with self._changed:
            return len(self._waiting) + self._busy

    @property
    def has_newer(self) -> bool:
        """Whether a frame waits behind the one in work."""
        with self._changed:
            return bool(self._waiting)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: It runs already, or a stopped one has not ended yet.
        """
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError("the frame worker is still running: stop it, and let it finish its frame, first")
        self._running = True
        self._thread = threading.Thread(target=self._work, name="frame_worker", daemon=True)
        self._thread.start()

    def submit(self, frame: FrameT) -> bool:
        """Put a frame into the slot.

        Returns:
            True if a frame was lost: the one it replaces, or itself where the worker is stopped.
        """
        with self._changed:
            if not self._running:
                return True
            replaces = bool(self._waiting)
            self._waiting = [frame]
            self._changed.notify()
            return replaces

    def halt(self) -> bool:
        """Take no frame any more, and let the one in work finish; returns at once, harmless where it does not run.

        Returns:
            True if a frame that was waiting in the slot is lost.
        """
        with self._changed:
            self._running = False
            loses = bool(self._waiting)
            self._waiting = []
            self._changed.notify()
        return loses

    def stop(self, timeout_s: float | None = None) -> bool:
        """Halt, let the frame in work finish, and end the thread; harmless where it does not run.

        Args:
            timeout_s: Seconds to wait for the thread, None for as long as the frame takes.

        Returns:
            True if a frame that was waiting in the slot is lost.
        """
        loses = self.halt()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return loses

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._running)
                if not self._running:
                    return
                turn = self._turn(self._waiting[0])
            try:
                self._work_on_the_newest(turn)
            except Exception as error:
                self._on_error(error)
            # A camera image is not kept alive while the next one is awaited, nor counted as in flight.
            del turn
            with self._changed:
                self._busy = False

    def _work_on_the_newest(self, turn: AbstractContextManager[None]) -> None:
        with turn:
            with self._changed:
                if not self._waiting:  # stopped meanwhile
                    return
                frame = self._waiting.pop()
                self._busy = True
            rest = self._process(frame)
        if rest is not None:
            rest()
