"""Watching the demo's three processes: how far they are, and when to give up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.progress import Progress

from depth_estimation_ros.demo.processes import Child, Interruption
from depth_estimation_ros.demo.recording import Recording

POLL_S = 0.1
FULL_DISK_BYTES = 1_000_000
LAST_WORD_S = 30.0  # the listener's own waits after the last image, and its judgement, are shorter than this


class DemoError(RuntimeError):
    """The demo did not do what it should; one sentence, and what explains it: broken rules, a child's log."""

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details


@dataclass(frozen=True)
class Settings:
    """What the user chose: rate of the camera, patience, and what the node is told."""

    rate_hz: float
    timeout_s: float
    model: str
    device: str
    node_module: str = "depth_estimation_ros.node_process"


class _Stage(NamedTuple):
    """What has not happened yet, how often it has so far, how long to wait for the next, and whose log to show."""

    awaited: str
    times: int
    limit_s: float
    child: Child


def _stage(recording: Recording, children: Sequence[Child], settings: Settings) -> _Stage:
    node, listener, _ = children
    arrived = len(recording.arrivals())
    if not recording.marked("listener_ready"):
        return _Stage("The node's topics did not appear", 0, settings.timeout_s, node)
    if not recording.sent():
        return _Stage("The node did not listen to the camera", 0, settings.timeout_s, node)
    if not recording.marked("camera_done"):
        limit_s = settings.timeout_s + 1.0 / settings.rate_hz
        return _Stage("No depth image arrived while images were sent", arrived, limit_s, node)
    return _Stage("The listener did not come to an end", arrived, settings.timeout_s + LAST_WORD_S, listener)


def _demand_alive(recording: Recording, children: Sequence[Child]) -> None:
    node, _, camera = children
    for child in (node, camera):
        if child.status() is not None and not (child is camera and recording.marked("camera_done")):
            raise _ended_too_soon(recording, child)


def _ended_too_soon(recording: Recording, child: Child) -> DemoError:
    if shutil.disk_usage(recording.folder).free < FULL_DISK_BYTES:  # then its log is cut short, too
        return DemoError(f"No space is left in {recording.folder.parent}: free some, or choose another --output.")
    return DemoError(
        f"The {child.name} ended with status {child.status()} before the demo was over: see the end of {child.log}.",
        child.log_tail(),
    )


def watch(
    recording: Recording,
    children: Sequence[Child],
    frame_count: int,
    settings: Settings,
    interruption: Interruption,
    bars: Progress,
) -> dict[str, Any]:
    """Show progress until the listener has judged, and return its report.

    Args:
        recording: Where camera and listener note what they do.
        children: Node, listener and camera, running.
        frame_count: How many images the camera will send.
        settings: How long to wait.
        interruption: Asked between two looks.
        bars: Where to show the progress.

    Raises:
        DemoError: A process ends too soon, nothing comes for too long, or the listener's checks do not hold.
        Interrupted: A stopping signal has come.
    """
    node, listener, _ = children
    sending = bars.add_task("waiting for the node", total=frame_count)
    receiving = bars.add_task("depth images received", total=frame_count)
    seen, since_s = None, time.monotonic()
    while listener.status() is None:
        interruption.check()
        _demand_alive(recording, children)
        _show(recording, bars, sending, receiving)
        stage = _stage(recording, children, settings)
        if (stage.awaited, stage.times) != seen:
            seen, since_s = (stage.awaited, stage.times), time.monotonic()
        elif time.monotonic() - since_s > stage.limit_s:
            raise DemoError(
                f"{stage.awaited} for {stage.limit_s:g} s: see the end of {stage.child.log}, or raise --timeout.",
                stage.child.log_tail(),
            )
        time.sleep(POLL_S)
    _show(recording, bars, sending, receiving)
    report = recording.json("report")
    if report is None:
        raise _ended_too_soon(recording, listener)
    if report["failures"]:
        details = [*report["failures"], f"The end of {node.log}:", node.log_tail()]
        raise DemoError(f"{len(report['failures'])} of the listener's rules are broken:", "\n".join(details))
    return report


def _show(recording: Recording, bars: Progress, sending: Any, receiving: Any) -> None:
    ready = recording.marked("listener_ready")
    bars.update(
        sending, completed=len(recording.sent()), description="frames sent" if ready else "waiting for the node"
    )
    bars.update(receiving, completed=len(recording.arrivals()))
