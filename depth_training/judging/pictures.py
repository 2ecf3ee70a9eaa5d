"""Pictures of judged images: the best, the median and the worst of one source; where several sources differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from depth_training.data.pairs import Pair, read_pair
from depth_training.judging.sources import DepthSource
from depth_training.report import Example, draw_examples

ERROR_END = 0.5
RATIO_END = float(np.log(1.5))
MOST_SHOWN = 3


def draw_best_median_worst(source: DepthSource, pairs: Sequence[Pair], rows: pd.DataFrame, path: Path) -> Path:
    """Draw three images by their abs_rel; returns ``path``.

    Args:
        source: What was judged.
        pairs: In the order of ``rows``.
        rows: With the columns ``image`` and ``abs_rel``.
        path: A png file.
    """
    abs_rel = rows["abs_rel"].to_numpy()
    order = np.argsort(abs_rel)[: np.count_nonzero(~np.isnan(abs_rel))]  # NaN sorts last
    examples = []
    for label, row in (("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])):
        image_rgb, truth_m = read_pair(pairs[row])
        predicted_m = source.predict(pairs[row], image_rgb).depth_m
        caption = f"{label}: {rows['image'][row]}\nabs_rel {rows['abs_rel'][row]:.3f}"
        examples.append(Example(image_rgb, predicted_m, truth_m, caption))
    return draw_examples(examples, path)


def draw_differences(
    sources: Sequence[DepthSource], pairs: Sequence[Pair], disagreement: Sequence[float], path: Path
) -> Path:
    """Draw the images on which sources lie farthest apart: input, each one's error, and where they differ.

    Args:
        sources: Two or more.
        pairs: That were judged.
        disagreement: Of each pair.
        path: A png file.

    Returns:
        ``path``.
    """
    chosen = np.argsort(-np.asarray(disagreement), kind="stable")[:MOST_SHOWN]
    columns = len(sources) + 2
    size = (3.6 * columns, 2.9 * len(chosen))
    figure, axes = plt.subplots(len(chosen), columns, figsize=size, squeeze=False, layout="constrained")
    for row, place in zip(axes, chosen, strict=True):
        image_rgb, truth_m = read_pair(pairs[place])
        truth_m = np.where(truth_m > 0, truth_m, np.nan)
        depths_m = [
            np.where(depth_m > 0, depth_m, np.nan) for depth_m in _predictions(sources, pairs[place], image_rgb)
        ]
        row[0].imshow(image_rgb)
        row[0].set_ylabel(f"{pairs[place].image.name}\n{100 * np.expm1(disagreement[place]):.0f} % apart", fontsize=8)
        for axis, depth_m in zip(row[1:-1], depths_m, strict=True):
            shown = axis.imshow((depth_m - truth_m) / truth_m, vmin=-ERROR_END, vmax=ERROR_END, cmap="RdBu_r")
        figure.colorbar(shown, ax=row[1:-1], label="relative error", shrink=0.8)
        apart = np.log(depths_m[0] / depths_m[1]) if len(depths_m) == 2 else np.ptp(np.log(depths_m), axis=0)
        shown = row[-1].imshow(apart, vmin=-RATIO_END, vmax=RATIO_END, cmap="PuOr")
        figure.colorbar(shown, ax=row[-1], label="ln of the ratio", shrink=0.8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    last = f"{sources[0].name} over {sources[1].name}" if len(sources) == 2 else "farthest over nearest"
    for axis, title in zip(axes[0], ["input", *(source.name for source in sources), last], strict=True):
        axis.set_title(title, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path


def _predictions(sources: Sequence[DepthSource], pair: Pair, image_rgb: np.ndarray) -> list[np.ndarray]:
    return [source.predict(pair, image_rgb).depth_m for source in sources]
