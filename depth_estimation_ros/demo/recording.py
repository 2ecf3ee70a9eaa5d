"""The folder through which the demo's processes share what ROS does not carry: frames to send, and what arrived.

Images, depth and clouds travel over DDS. Here lie the frames before they are sent, the truth, the stamps they were
sent with and what the listener received, so that each process can be judged by what another one wrote.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.demo.frames import SourceFrame

BYTES_PER_PIXEL = 3 + 4  # colour and truth


@dataclass(frozen=True)
class SentImage:
    """A frame's index and the header it was published with."""

    index: int
    stamp_ns: int
    frame_id: str


@dataclass(frozen=True)
class Recording:
    """One run's folder; every method names what it keeps there."""

    folder: Path

    def write_frame(self, index: int, frame: SourceFrame) -> None:
        """Keep a frame to be sent."""
        arrays: dict[str, Any] = {"image_rgb": frame.image_rgb, "name": np.array(frame.name)}
        arrays |= {} if frame.k is None else {"k": frame.k}
        arrays |= {} if frame.truth_m is None else {"truth_m": frame.truth_m}
        np.savez(self.folder / f"frame_{index:06d}.npz", **arrays)

    def frame(self, index: int) -> SourceFrame:
        """Return a frame that was kept."""
        with np.load(self.folder / f"frame_{index:06d}.npz") as kept:
            return SourceFrame(str(kept["name"]), kept["image_rgb"], *(kept.get(key) for key in ("k", "truth_m")))

    def write_sent(self, image: SentImage) -> None:
        """Note an image as sent; called before it is published, so that no answer can come earlier."""
        self._append("sent.jsonl", vars(image))

    def sent(self) -> list[SentImage]:
        """Return what has been sent so far, in order."""
        return [SentImage(**line) for line in self._lines("sent.jsonl")]

    def write_depth(self, stamp_ns: int, arrival_ns: int, depth_m: np.ndarray) -> None:
        """Keep a received depth image (H, W) float32 in metres and when it came."""
        np.save(self.folder / f"depth_{stamp_ns}.npy", depth_m)
        self._append("arrived.jsonl", {"stamp_ns": stamp_ns, "arrival_ns": arrival_ns})

    def arrivals(self) -> list[tuple[int, int]]:
        """Return (stamp_ns, arrival_ns) of every depth image received so far, in order."""
        return [(line["stamp_ns"], line["arrival_ns"]) for line in self._lines("arrived.jsonl")]

    def depth(self, stamp_ns: int) -> np.ndarray:
        """Return a received depth image, (H, W) float32 in metres."""
        return np.load(self.folder / f"depth_{stamp_ns}.npy")

    def write_cloud(self, stamp_ns: int, points_m: np.ndarray, rgb: np.ndarray) -> None:
        """Keep a received cloud: points (H, W, 3) float32 in the optical frame, colours (H, W, 3) uint8."""
        np.savez(self.folder / f"cloud_{stamp_ns}.npz", points_m=points_m, rgb=rgb)

    def cloud(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a received cloud's points and colours, None where none came."""
        path = self.folder / f"cloud_{stamp_ns}.npz"
        if not path.exists():
            return None
        with np.load(path) as kept:
            return kept["points_m"], kept["rgb"]

    def write_json(self, name: str, document: dict[str, Any]) -> None:
        """Keep a document, whole or not at all."""
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps(document, indent=1))
        partial.replace(self.folder / f"{name}.json")

    def json(self, name: str) -> dict[str, Any] | None:
        """Return a document, None before it is there."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def mark(self, event: str) -> None:
        """Note that something has happened: `listener_ready`, `camera_done`."""
        (self.folder / event).touch()

    def marked(self, event: str) -> bool:
        """Return whether that has happened."""
        return (self.folder / event).exists()

    def _append(self, name: str, document: dict[str, Any]) -> None:
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(document) + "\n")

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.folder / name
        if path.exists():
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):  # the last one may be half written
                    yield json.loads(line)


def planned_recording(description: str | None) -> tuple[Recording, dict[str, Any]]:
    """Open the recording that a process's command line names, with its plan; ends with 2 where there is none."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recording", type=Path, help="folder that depth_estimation_ros.demo.run has prepared")
    recording = Recording(parser.parse_args().recording)
    plan = recording.json("plan")
    if plan is None:
        parser.exit(2, f"{recording.folder} holds no plan.json: start depth_estimation_ros.demo.run instead.\n")
    return recording, plan
