"""What the demo leaves behind: pictures, the cloud, the numbers, and the same numbers on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from depth_estimation_ros.demo.pictures import save_cloud_picture, save_depth_picture
from depth_estimation_ros.demo.recording import Recording
from depth_estimation_ros.demo.summary import remarks, summarise, table
from depth_estimation_ros.ply import save_ply

DEPTH_PICTURES = ("depth_1.png", "depth_2.png", "depth_3.png")
NUMBERS, CLOUD_FILE, CLOUD_PICTURE = "summary.json", "points.ply", "points.png"


def clear_results(output: Path) -> None:
    """Remove an earlier run's files, so that they are not taken for this one's."""
    for name in (*DEPTH_PICTURES, NUMBERS, CLOUD_FILE, CLOUD_PICTURE):
        (output / name).unlink(missing_ok=True)


def write_results(
    recording: Recording,
    report: Mapping[str, Any],
    output: Path,
    rate_hz: float,
    source_is_room: bool,
    console: Console,
) -> None:
    """Write the files and print the table.

    Args:
        recording: What was sent and what came back.
        report: The listener's.
        output: The folder to write.
        rate_hz: The rate at which images were sent.
        source_is_room: Whether they show the built-in room.
        console: Where to print.
    """
    summary = summarise(recording, report)
    (output / NUMBERS).write_text(json.dumps(summary.to_json(), indent=1) + "\n")
    stamps = [stamp for stamp, _ in recording.arrivals()]
    sent = {image.stamp_ns: image.index for image in recording.sent()}
    written = [NUMBERS]
    count = min(len(DEPTH_PICTURES), len(stamps))
    for number, name in enumerate(DEPTH_PICTURES[:count]):
        stamp = stamps[(2 * number + 1) * len(stamps) // (2 * count)]
        frame = recording.frame(sent[stamp])
        save_depth_picture(output / name, frame.image_rgb, recording.depth(stamp), frame.truth_m, frame.name)
        written.append(name)
    with_cloud = [stamp for stamp in stamps if recording.cloud(stamp) is not None]
    if with_cloud:
        stamp = with_cloud[len(with_cloud) // 2]
        points_m, rgb = recording.cloud(stamp) or (None, None)
        if points_m is not None and rgb is not None:
            save_ply(output / CLOUD_FILE, points_m, rgb)
            save_cloud_picture(output / CLOUD_PICTURE, points_m, rgb, recording.frame(sent[stamp]).name)
            written += [CLOUD_FILE, CLOUD_PICTURE]
    console.print(table(summary, rate_hz))
    for sentence in remarks(summary, source_is_room):
        console.print(sentence)
    console.print(f"Written to {output}: {', '.join(written)}.")
