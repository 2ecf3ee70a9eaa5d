"""Pictures of what a model does: input, depth, truth and error side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


@dataclass(frozen=True)
class Example:
    """One row of the picture: (H, W, 3) uint8 RGB, (H, W) metres predicted and true, and a caption."""

    image_rgb: np.ndarray
    predicted_m: np.ndarray
    truth_m: np.ndarray
    caption: str


def draw_examples(examples: Sequence[Example], path: Path) -> Path:
    """Draw rows of input, depth, truth and relative error, each with its scale; returns ``path``."""
    figure, axes = plt.subplots(
        len(examples), 4, figsize=(15, 3.1 * len(examples)), squeeze=False, layout="constrained"
    )
    for row, example in zip(axes, examples, strict=True):
        known = example.truth_m > 0
        truth_m = np.where(known, example.truth_m, np.nan)
        span = {"vmin": 0.0, "vmax": float(np.nanmax(truth_m)), "cmap": "turbo"}
        row[0].imshow(example.image_rgb)
        row[0].set_ylabel(example.caption, fontsize=8)
        row[1].imshow(example.predicted_m, **span)
        shown = row[2].imshow(truth_m, **span)
        figure.colorbar(shown, ax=row[1:3], label="depth [m]", shrink=0.8)
        error = (example.predicted_m - truth_m) / truth_m
        shown = row[3].imshow(error, vmin=-0.5, vmax=0.5, cmap="RdBu_r")
        figure.colorbar(shown, ax=row[3], label="relative error", shrink=0.8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], ("input", "predicted depth", "truth", "error"), strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path
