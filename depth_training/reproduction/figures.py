"""The report's pictures: learning curves, and the paper's figure 2 as depth and error maps without photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from depth_training.data.pairs import Pair, PairsError, read_pair
from depth_training.evaluation import Camera, camera_of, open_model, predict_depth

ROW_RULE = "best, median and worst image of the first network by Rel on the held-out test"


@dataclass(frozen=True)
class MapRow:
    """One row of the picture: (H, W) metres of each network, the truth (0 unknown), and a caption."""

    predicted_m: Sequence[np.ndarray]
    truth_m: np.ndarray
    caption: str


def choose_rows(images: Sequence[str], abs_rel: Sequence[float], wanted: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Choose what figure 2 shows: best, median and worst by ``abs_rel``, then the wanted images.

    Args:
        images: File names.
        abs_rel: Of each; NaN is never chosen.
        wanted: File names to show besides.

    Returns:
        (why, place in the list).

    Raises:
        PairsError: A wanted image is not in the list.
    """
    values = np.asarray(abs_rel, dtype=float)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # NaN sorts last
    chosen = [("best", int(order[0])), ("median", int(order[len(order) // 2])), ("worst", int(order[-1]))]
    missing = [name for name in wanted if name not in images]
    if missing:
        raise PairsError(
            f"{', '.join(missing)} is no image of the test (its images are named like {images[0]}): give names of its "
            "column image, without the folder"
        )
    return chosen + [("chosen", list(images).index(name)) for name in wanted]


def predict_rows(
    models: Sequence[Path], pairs: Sequence[Pair], chosen: Sequence[tuple[str, int]], camera: Camera
) -> list[MapRow]:
    """Run each network on the chosen pairs."""
    predictors = [open_model(str(model)) for model in models]
    rows = []
    for why, place in chosen:
        pair = pairs[place]
        image_rgb, truth_m = read_pair(pair)
        seen_by = camera_of(pair, camera, truth_m.shape)
        predicted_m = [predict_depth(predictor, image_rgb, seen_by) for predictor in predictors]
        rows.append(MapRow(predicted_m, truth_m, f"{why}: {pair.image.name}"))
    return rows


def draw_maps(names: Sequence[str], rows: Sequence[MapRow], path: Path) -> Path:
    """Draw depth of each network, the true depth, and each network's relative error; returns ``path``."""
    columns = 2 * len(names) + 1
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(3.3 * columns, 2.7 * len(rows)), squeeze=False, layout="constrained"
    )
    for line, row in zip(axes, rows, strict=True):
        truth_m = np.where(row.truth_m > 0, row.truth_m, np.nan)
        span = {"vmin": 0.0, "vmax": float(np.nanmax(truth_m)), "cmap": "turbo"}
        for axis, depth_m in zip(line, (*row.predicted_m, truth_m), strict=False):
            shown = axis.imshow(depth_m, **span)
        figure.colorbar(shown, ax=line[: len(names) + 1], label="depth [m]", shrink=0.8)
        for axis, depth_m in zip(line[len(names) + 1 :], row.predicted_m, strict=True):
            shown = axis.imshow((depth_m - truth_m) / truth_m, vmin=-0.5, vmax=0.5, cmap="RdBu_r")
        figure.colorbar(shown, ax=line[len(names) + 1 :], label="relative error", shrink=0.8)
        line[0].set_ylabel(row.caption, fontsize=8)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
    titles = (*names, "truth", *(f"{name}: error" for name in names))
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=70)
    plt.close(figure)
    return path


def draw_curves(curves: dict[str, Sequence[pd.DataFrame]], path: Path) -> Path:
    """Draw the training loss in metres and in centimetres and the validation's Rel over the epochs.

    Args:
        curves: Row's name to the table of each seed, as ``read_curve`` gives them.
        path: PNG to write.
    """
    panels = {
        "loss_m": "training loss, depth in metres",
        "loss_cm": "training loss, depth in centimetres",
        "val_abs_rel": "validation Rel",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 3.8), layout="constrained")
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        for colour, (name, seeds) in enumerate(curves.items()):
            for number, seed in enumerate(seeds):
                label = name if number == 0 else None
                axis.plot(seed["epoch"], seed[column], marker=".", color=f"C{colour}", alpha=0.7, label=label)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path
