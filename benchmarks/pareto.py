"""Accuracy against latency of everything tried, as a picture.

    python benchmarks/pareto.py results.json --output docs/images/pareto.png

results.json is a list of objects, one per model; paths in it are relative to it:

    [{"name": "default", "evaluation": "default_metrics.json", "speed": "speed.json", "entry": "default"},
     {"name": "tried at night", "evaluation": {"abs_rel": 0.2}, "speed": {"median_ms": 31.0}}]

``evaluation`` is the JSON that `python -m depth_training evaluate --json` wrote. ``speed`` is the JSON that
inference_speed.py or network_comparison.py wrote, and ``entry`` the name in it (default: ``name``). Take the speeds
that one picture compares from one machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, NullLocator

LATENCY_TICKS_MS = (1, 2, 5, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000, 2000, 5000)
HALO = withStroke(linewidth=3, foreground="white")  # labels are legible over others' dots
ERROR_TICKS = (0.05, 0.07, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7, 1.0)


class ResultsError(ValueError):
    """A results file that cannot be drawn; the message says what to mend."""


@dataclass(frozen=True)
class Point:
    """One model: mean abs_rel with its 95 % interval (None where unknown), and the median latency."""

    name: str
    abs_rel: float
    interval: tuple[float, float] | None
    latency_ms: float


def read_points(path: Path) -> list[Point]:
    """Read the models that a results file lists.

    Raises:
        ResultsError: A file that is missing or no such list, or an entry without the figures it needs.
    """
    listed = _read_json(path)
    if not isinstance(listed, list) or not listed:
        raise ResultsError(f"{path} must be a JSON list of at least one object with name, evaluation and speed")
    return [_point(entry, path) for entry in listed]


def _point(entry: Any, path: Path) -> Point:
    missing = {"name", "evaluation", "speed"} - set(entry)
    if missing:
        raise ResultsError(f"{path}: the entry {entry} lacks {', '.join(sorted(missing))}; add it")
    name = entry["name"]
    evaluation, speed = (
        value if isinstance(value, dict) else _read_json(path.parent / value)
        for value in (entry["evaluation"], entry["speed"])
    )
    if "entries" in speed:
        wanted = entry.get("entry", name)
        found = {given["name"]: given for given in speed["entries"]}
        if wanted not in found:
            raise ResultsError(f"{path}: {entry['speed']} has no {wanted!r}, only {', '.join(found)}; set entry")
        speed = found[wanted]
    if "abs_rel" not in evaluation or "median_ms" not in speed:
        raise ResultsError(f"{path}: {name} needs abs_rel in its evaluation and median_ms in its speed")
    interval = evaluation.get("interval95", {}).get("abs_rel")
    return Point(name, evaluation["abs_rel"], None if interval is None else tuple(interval), speed["median_ms"])


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read as JSON ({error}): give an existing JSON file") from error


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in both accuracy and latency, fastest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency_ms, p.abs_rel)):
        if not kept or point.abs_rel < kept[-1].abs_rel:
            kept.append(point)
    return kept


def draw(points: Sequence[Point], path: Path) -> Path:
    """Draw all points with their intervals and the front through the best; returns ``path``."""
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    best = front(points)
    if len(best) > 1:
        latencies, errors = [p.latency_ms for p in best], [p.abs_rel for p in best]
        axis.step(latencies, errors, where="post", color="tab:blue", linewidth=1, alpha=0.6)
    for point in points:
        colour = "tab:blue" if point in best else "tab:gray"
        if point.interval is not None:
            axis.plot([point.latency_ms] * 2, point.interval, color=colour, linewidth=1, alpha=0.5)
        axis.plot(point.latency_ms, point.abs_rel, "o" if point.name else ".", color=colour)  # many share a latency
        place, offset = (point.latency_ms, point.abs_rel), (6, -10 if point in best else 4)  # out of each other's way
        style = {"color": colour, "fontsize": 8, "zorder": 10, "path_effects": [HALO]}
        axis.annotate(point.name, place, xytext=offset, textcoords="offset points", **style)
    for scaled, ticks in ((axis.xaxis, LATENCY_TICKS_MS), (axis.yaxis, ERROR_TICKS)):
        scaled.axes.set(**{f"{scaled.axis_name}scale": "log"})
        scaled.set_major_locator(FixedLocator(ticks))
        scaled.set_major_formatter("{x:g}")
        scaled.set_minor_locator(NullLocator())
    axis.set_xlabel("median latency of one image [ms]")
    axis.set_ylabel("abs_rel (lower is better), 95 % interval")
    axis.grid(True, linewidth=0.3)
    axis.set_xlim(min(p.latency_ms for p in points) / 1.3, max(p.latency_ms for p in points) * 1.9)
    low, high = np.quantile([e for p in points for e in (p.interval or (p.abs_rel,))], [0, 1])
    axis.set_ylim(low / 1.1, high * 1.1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def main() -> None:
    """Read the results and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="JSON list of models")
    parser.add_argument("--output", type=Path, default=Path("docs/images/pareto.png"), help="the picture (png)")
    arguments = parser.parse_args()
    try:
        print(draw(read_points(arguments.results), arguments.output))
    except ResultsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
