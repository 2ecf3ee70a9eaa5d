"""The tables that `evaluate` and `compare` print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from depth_training.judging.comparison import OPEN, TIE, Difference, best_of, ties_with_best
from depth_training.metrics import METRIC_NAMES

CONFIDENCE_MEANINGS = {
    "coverage_1_sigma": "share of errors within one sigma; .683 if normal",
    "coverage_2_sigma": "within two; .954 if normal",
    "sparsification_abs_rel": "area over full error, least sure pixels removed; 1.00 at random",
    "sparsification_rmse": "likewise",
    "farthest_abs_rel": "likewise, farthest pixels removed: what to beat",
    "farthest_rmse": "likewise",
}
PART_MEANINGS = {
    "scale_part": "goes away at the truth's median",
    "shape_part": "left then, away from true depth steps",
    "edge_part": "left then, within 5 pixels of one",
    "edge_share": "share of pixels within 5 pixels of one",
}


def metrics_table(result: dict, name: str) -> Table:
    """Every metric with its interval."""
    table = Table("metric", "mean", "95 % interval", title=f"{name} on {result['images']} images")
    for metric in METRIC_NAMES:
        table.add_row(metric, *_mean_and_interval(result, metric))
    return table


def parts_table(parts: dict, abs_rel: float) -> Table:
    """The parts of abs_rel, with their shares of it."""
    table = Table("part of abs_rel", "mean", "95 % interval", "share", "")
    for name, meaning in PART_MEANINGS.items():
        share = "" if name == "edge_share" or abs_rel == 0 else f"{100 * parts[name] / abs_rel:.0f} %"
        table.add_row(name, *_mean_and_interval(parts, name), share, meaning)
    return table


def bin_span(entry: dict) -> str:
    """The true depths of one of ``depth_bins``, in words; metres."""
    return f"over {entry['from_m']:g}" if entry["to_m"] is None else f"{entry['from_m']:g} to {entry['to_m']:g}"


def bins_table(bins: Sequence[dict]) -> Table:
    """Metrics by true depth."""
    table = Table("true depth m", "pixels", "abs_rel", "95 % interval", "rmse", "delta1", "bias")
    for entry in bins:
        low, high = entry["interval95"]
        figures = (f"{entry['rmse']:.3f}", f"{entry['delta1']:.3f}", f"{entry['bias']:+.3f}")
        table.add_row(
            bin_span(entry),
            f"{100 * entry['share']:.1f} %",
            f"{entry['abs_rel']:.4f}",
            f"{low:.4f} to {high:.4f}",
            *figures,
        )
    return table


def confidence_table(confidence: dict) -> Table:
    """What the confidence is worth."""
    table = Table("confidence", "mean", "95 % interval", "")
    for name, meaning in CONFIDENCE_MEANINGS.items():
        table.add_row(name, *_mean_and_interval(confidence, name), meaning)
    return table


def masks_table(masks: Sequence[dict[str, float]]) -> Table:
    """What is left above each `min_confidence`."""
    table = Table("min_confidence", "pixels kept", "abs_rel", "delta1", "confidence told (should be delta1)")
    for entry in masks:
        table.add_row(
            f"{entry['min_confidence']:g}",
            f"{100 * entry['kept']:.1f} %",
            *(f"{entry[name]:.3f}" for name in ("abs_rel", "delta1", "told")),
        )
    return table


def ranking_table(results: Sequence[dict], differences: Sequence[Difference]) -> Table:
    """Every source's metrics; the best of each is bold, and ``=`` marks what is not told apart from it."""
    title = f"{results[0]['images']} images; bold: best, = : not told apart from it"
    table = Table("", *METRIC_NAMES, title=title)
    level = {metric: ties_with_best(results, differences, metric) for metric in METRIC_NAMES}
    best = {metric: best_of(results, metric) for metric in METRIC_NAMES}
    for result in results:
        cells = []
        for metric in METRIC_NAMES:
            figure = f"{result[metric]:.4f}"
            if result["model"] == best[metric]:
                figure = f"[bold]{figure}[/bold]"
            elif result["model"] in level[metric]:
                figure = f"{figure} ="
            cells.append(figure)
        table.add_row(result["model"], *cells)
    return table


def differences_table(differences: Sequence[Difference]) -> Table:
    """Every metric of every two sources, and whether the difference is real."""
    table = Table("", "metric", "difference", "standard error", "95 % interval", "better")
    for difference in differences:
        verdict = difference.verdict
        figures = (
            f"{difference.value:+.4f}",
            f"{difference.error:.4f}",
            f"{difference.low:+.4f} to {difference.high:+.4f}",
        )
        style = "dim" if verdict in (TIE, OPEN) else None
        table.add_row(f"{difference.a} - {difference.b}", difference.metric, *figures, verdict, style=style)
    return table


def _mean_and_interval(values: dict, name: str) -> tuple[str, str]:
    low, high = values["interval95"][name]
    return f"{values[name]:.4f}", f"{low:.4f} to {high:.4f}"
