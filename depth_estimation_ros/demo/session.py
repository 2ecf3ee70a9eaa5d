"""One run of camera, node and listener: frames made ready, three processes started, watched and ended."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from depth_estimation_ros.demo.frames import SourceFrame
from depth_estimation_ros.demo.processes import Child, Interruption, free_domain_id, ros_environment, stop
from depth_estimation_ros.demo.recording import Recording
from depth_estimation_ros.demo.sources import Source, SourceError
from depth_estimation_ros.demo.watch import DemoError, Settings, watch

IMAGE_TOPIC = "/demo_camera/image"
ASSUMED_HFOV_DEG = 60.0
RECEIVED_BYTES_PER_FRAME = 1_000_000  # depth and cloud as the node sends them by default


@dataclass(frozen=True)
class Prepared:
    """What was made ready: the number of frames, and whether every one has known intrinsics."""

    frame_count: int
    calibrated: bool


def progress_bars(console: Console) -> Progress:
    """Return bars that show how many of how many, and for how long."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _demand_space(folder: Path, frame: SourceFrame, count: int) -> None:
    """Refuse to start what would fill the disk.

    Raises:
        DemoError: There is less free space than the frames and what comes back will take.
    """
    truth_bytes = 0 if frame.truth_m is None else frame.truth_m.nbytes
    needed = count * (frame.image_rgb.nbytes + truth_bytes + RECEIVED_BYTES_PER_FRAME)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DemoError(
            f"The demo needs about {needed / 1e6:.0f} MB in {folder.parent} and {free / 1e6:.0f} MB are free: "
            "free some space, choose fewer --frames, or another --output."
        )


def prepare(source: Source, recording: Recording, given: dict[str, Any], console: Console) -> Prepared:
    """Render or read every frame and keep it in the recording; a webcam's are taken later, by the camera process.

    Raises:
        SourceError: A file cannot be read.
        DemoError: There is not space enough.
    """
    if source.webcam is not None:
        return Prepared(source.frame_count, any(value is not None for value in given.values()))
    count, calibrated = 0, True
    with progress_bars(console) as bars, closing(source.read()) as frames:
        task = bars.add_task("making the frames ready", total=source.frame_count)
        for frame in frames:
            if count == 0:
                _demand_space(recording.folder, frame, source.frame_count)
            recording.write_frame(count, frame)
            calibrated &= frame.k is not None
            count += 1
            bars.advance(task)
    if count == 0:
        raise SourceError(f"The {source.description} gives no frame that can be decoded: choose another, or 'room'.")
    return Prepared(count, calibrated)


def node_arguments(settings: Settings, calibrated: bool) -> list[str]:
    """Return the node's command line; the camera's CameraInfo is found beside its image by the node itself."""
    values: dict[str, str | float] = {
        # JSON strings are YAML strings, whatever characters a path holds.
        "model": json.dumps(settings.model),
        "device": json.dumps(settings.device),
        "diagnostics_period": 0.5,
    }
    if not calibrated:
        values["assumed_hfov_deg"] = ASSUMED_HFOV_DEG
    assignments = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
    return ["--ros-args", "-r", f"image:={IMAGE_TOPIC}", *assignments]


def run_processes(
    recording: Recording,
    logs: Path,
    prepared: Prepared,
    settings: Settings,
    interruption: Interruption,
    console: Console,
) -> dict[str, Any]:
    """Start node, listener and camera, watch them until the listener has judged, end them; return its report.

    Raises:
        DemoError: A process ends too soon, nothing arrives, or the listener's checks do not hold.
        Interrupted: A stopping signal has come; nothing runs any more when it is raised.
    """
    domain_id = free_domain_id()
    environment = ros_environment(domain_id, recording.folder)
    console.print(f"Starting camera, node and listener as three processes in ROS domain {domain_id}.")
    children: list[Child] = []
    interruption.deferred = True
    try:
        starts = (
            ("node", settings.node_module, node_arguments(settings, prepared.calibrated)),
            ("listener", "depth_estimation_ros.demo.listener_process", [str(recording.folder)]),
            ("camera", "depth_estimation_ros.demo.camera_process", [str(recording.folder)]),
        )
        for name, module, arguments in starts:
            interruption.check()
            children.append(Child(name, module, arguments, logs / f"{name}.log", environment))
        with progress_bars(console) as bars:
            return watch(recording, children, prepared.frame_count, settings, interruption, bars)
    finally:
        stop(children)
        interruption.deferred = False
