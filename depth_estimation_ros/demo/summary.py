"""The demo's numbers: what was sent, what came back, how late, and how far from the truth where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from rich.table import Table

from depth_estimation_ros.demo.recording import Recording


@dataclass(frozen=True)
class Summary:
    """One run in numbers; None stands for what could not be known.

    `received_by_node`, `published_by_node`, `dropped_by_node`, `rejected_by_node` and `publish_latency_ms` (p50, p99:
    from an image's stamp to the publication of its outputs) are the node's own, out of its last /diagnostics message.
    All else is measured by the listener: `arrival_latency_ms` (p50, p99) runs from an image's stamp to the arrival of
    its depth, `rate_hz` is that of arriving depth images. `depth_range_m` is (least, median, greatest) over all finite
    pixels; `median_relative_error` is the median of abs(z - truth) / truth over all pixels of all frames.
    """

    frames_sent: int
    received_by_node: int | None
    published_by_node: int | None
    dropped_by_node: int | None
    rejected_by_node: int | None
    depth_images: int
    clouds: int
    rate_hz: float | None
    publish_latency_ms: tuple[float, float] | None
    arrival_latency_ms: tuple[float, float] | None
    depth_range_m: tuple[float, float, float] | None
    median_relative_error: float | None
    frames_with_truth: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def truth_at(truth_m: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the truth (H, W) at the pixel centres of a depth image of another size, nearest neighbour, no blending."""
    height, width = shape
    return cv2.resize(truth_m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def relative_error(depth_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """Return abs(z - truth) / truth, (h, w) float32 at the depth's size, NaN where either is not known."""
    truth = truth_at(truth_m, depth_m.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(depth_m - truth) / truth
    return np.where(np.isfinite(error), error, np.nan).astype(np.float32)


def _whole(diagnostics: Mapping[str, str], key: str) -> int | None:
    text = diagnostics.get(key, "")
    return int(text) if text.isdecimal() else None


def _quantiles_of_node(diagnostics: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        return float(diagnostics["stamp to publish p50 (ms)"]), float(diagnostics["stamp to publish p99 (ms)"])
    except (KeyError, ValueError):  # "unknown" before the first frame
        return None


def summarise(recording: Recording, report: Mapping[str, Any]) -> Summary:
    """Put together what the camera noted, what the listener received and the report that it wrote."""
    sent = {image.stamp_ns: image for image in recording.sent()}
    arrivals = [(stamp, arrival) for stamp, arrival in recording.arrivals() if stamp in sent]
    depths, errors, frames_with_truth = [], [], 0
    for stamp, _ in arrivals:
        depth_m = recording.depth(stamp)
        depths.append(depth_m[np.isfinite(depth_m)])
        truth_m = recording.frame(sent[stamp].index).truth_m
        if truth_m is not None:
            error = relative_error(depth_m, truth_m)
            errors.append(error[np.isfinite(error)])
            frames_with_truth += 1
    depth_m = np.concatenate(depths) if depths else np.empty(0)
    all_errors = np.concatenate(errors) if errors else np.empty(0)
    latency_ms = [(arrival - stamp) / 1e6 for stamp, arrival in arrivals]
    span_s = (arrivals[-1][1] - arrivals[0][1]) / 1e9 if len(arrivals) > 1 else 0.0
    diagnostics = report["diagnostics"]
    return Summary(
        frames_sent=len(sent),
        received_by_node=_whole(diagnostics, "received"),
        published_by_node=_whole(diagnostics, "published"),
        dropped_by_node=_whole(diagnostics, "dropped (newer frame came)"),
        rejected_by_node=_whole(diagnostics, "rejected"),
        depth_images=report["counts"]["depth/image_rect"],
        clouds=report["counts"]["depth/points"],
        rate_hz=(len(arrivals) - 1) / span_s if span_s > 0.0 else None,
        publish_latency_ms=_quantiles_of_node(diagnostics),
        arrival_latency_ms=(
            (float(np.quantile(latency_ms, 0.5)), float(np.quantile(latency_ms, 0.99))) if latency_ms else None
        ),
        depth_range_m=(
            (float(depth_m.min()), float(np.median(depth_m)), float(depth_m.max())) if depth_m.size else None
        ),
        median_relative_error=float(np.median(all_errors)) if all_errors.size else None,
        frames_with_truth=frames_with_truth,
    )


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _pair(values: tuple[float, float] | None) -> str:
    return "unknown" if values is None else f"{values[0]:.0f} / {values[1]:.0f} ms"


def table(summary: Summary, rate_hz: float) -> Table:
    """Return the numbers as they are printed; `rate_hz` is the rate at which images were sent."""
    rows = Table(title="What went in and what came out", title_justify="left", show_header=False)
    rows.add_column(justify="left")
    rows.add_column(justify="right")
    rows.add_row("frames sent", f"{summary.frames_sent} at {rate_hz:g} Hz")
    rows.add_row("received by the node (/diagnostics)", _number(summary.received_by_node, "d"))
    rows.add_row("  dropped there for a newer one (/diagnostics)", _number(summary.dropped_by_node, "d"))
    rows.add_row("  rejected there (/diagnostics)", _number(summary.rejected_by_node, "d"))
    rows.add_row("depth images at the listener", str(summary.depth_images))
    rows.add_row("point clouds at the listener", str(summary.clouds))
    rows.add_row("depth images per second (listener)", _number(summary.rate_hz, ".1f"))
    rows.add_row("stamp to publish p50 / p99 (/diagnostics)", _pair(summary.publish_latency_ms))
    rows.add_row("stamp to arrival p50 / p99 (listener)", _pair(summary.arrival_latency_ms))
    if summary.depth_range_m is not None:
        least, median, greatest = summary.depth_range_m
        rows.add_row("depth, least / median / greatest", f"{least:.2f} / {median:.2f} / {greatest:.2f} m")
    if summary.median_relative_error is not None:
        rows.add_row(
            f"median relative error, {summary.frames_with_truth} frames' pixels",
            f"{100.0 * summary.median_relative_error:.1f} %",
        )
    return rows


def remarks(summary: Summary, source_is_room: bool) -> list[str]:
    """Return sentences that put the numbers into their place."""
    sentences = []
    if summary.dropped_by_node:
        sentences.append(
            f"The node dropped {summary.dropped_by_node} of {summary.frames_sent} frames: this machine is slower than "
            "the camera, and the node always takes the newest frame, so that its depth never grows old."
        )
    lost = (summary.published_by_node or 0) - summary.depth_images
    if lost > 0:
        sentences.append(
            f"{lost} published depth images did not reach the listener, which subscribes best effort: the node's "
            "own transport profile is not used where /dev/shm is small or a FASTDDS_* variable is set."
        )
    if summary.median_relative_error is not None and source_is_room:
        sentences.append(
            "The model was trained on photographs and has never seen this synthetic room: the error shows that metres "
            "come through the whole chain, not how good the model is. For that, use real images with their truth."
        )
    return sentences
