"""The report's tables: this run's rows beside the paper's, as long tables (CSV) and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from depth_training.reproduction import paper
from depth_training.reproduction.experiments import ROWS
from depth_training.reproduction.results import RunResult, score, select
from depth_training.reproduction.statistics import Score, difference, is_tie

PART_NAMES = {
    "heldout": "held-out test",
    "test": "own split's test (1 %)",
    "validation": "own split's validation (20 %)",
}
METRIC_HEADS = {**paper.METRICS, "loss_m": "Loss, m", "loss_cm": "Loss, cm"}


@dataclass(frozen=True)
class TableSpec:
    """One table: which runs are its rows, judged on what, beside which rows of the paper."""

    table: str
    rows: Sequence[tuple[str, str]]  # (table, row) of the runs
    split: str
    part: str
    metrics: Sequence[str]
    paper: dict[str, dict[str, float]]


def row_scores(results: Sequence[RunResult], spec: TableSpec) -> dict[str, dict[str, Score]]:
    """Row to metric to score, for the rows that have been run."""
    chosen = {row: select(results, table, row, spec.split) for table, row in spec.rows}
    return {
        row: {metric: score(runs, spec.part, metric) for metric in spec.metrics} for row, runs in chosen.items() if runs
    }


def long_table(results: Sequence[RunResult], spec: TableSpec) -> pd.DataFrame:
    """One line per row and metric: the value, its errors, how many seeds and images, and the paper's value."""
    lines = [
        {
            "table": spec.table,
            "row": row,
            "split": spec.split,
            "judged_on": spec.part,
            "metric": metric,
            "value": given.mean,
            "standard_error": given.error,
            "seed_error": given.seed_error,
            "image_error": given.image_error,
            "seeds": given.values.shape[0],
            "images": given.values.shape[1],
            "paper": spec.paper.get(row, {}).get(metric, math.nan),
        }
        for row, metrics in row_scores(results, spec).items()
        for metric, given in metrics.items()
    ]
    return pd.DataFrame(lines)


def show(value: float, error: float | None = None) -> str:
    """A number as the report prints it: three significant places below ten, an error where it is known."""
    if math.isnan(value):
        return ""
    digits = 3 if abs(value) < 10 else 1
    return f"{value:.{digits}f}" + ("" if error is None or math.isnan(error) else f" ± {error:.{digits}f}")


def shown_table(results: Sequence[RunResult], spec: TableSpec) -> pd.DataFrame:
    """The table as it is read: the paper's rows, then this run's with their standard errors."""
    heads = {metric: METRIC_HEADS[metric] for metric in spec.metrics}
    lines = []
    for row, printed in spec.paper.items():
        values = {head: show(printed.get(metric, math.nan)) for metric, head in heads.items()}
        lines.append({"": f"paper, {ROWS[row]}", "seeds": "", "images": "", **values})
    for row, metrics in row_scores(results, spec).items():
        values = {heads[metric]: show(given.mean, given.error) for metric, given in metrics.items()}
        seeds, images = next(iter(metrics.values())).values.shape
        lines.append({"": f"here, {ROWS[row]}", "seeds": str(seeds), "images": str(images), **values})
    return pd.DataFrame(lines)


def markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown."""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


@dataclass(frozen=True)
class Order:
    """How two rows stand to each other in one metric, in the paper and here.

    Attributes:
        metric: Its key.
        better: The row that is better in the paper.
        worse: The other one.
        verdict: ``as in the paper``, ``tie``, ``other way round``, or ``undecided`` where no error is known.
        apart: Better minus worse, here.
        error: Standard error of that.
    """

    metric: str
    better: str
    worse: str
    verdict: str
    apart: float
    error: float


def compare_orders(results: Sequence[RunResult], spec: TableSpec) -> list[Order]:
    """Compare the order of every two rows in every metric with the paper's; rows the paper has not are left out."""
    scores = row_scores(results, spec)
    orders = []
    for metric in spec.metrics:
        sign = 1 if metric in paper.HIGHER_IS_BETTER else -1
        for one, other in combinations([row for row in scores if metric in spec.paper.get(row, {})], 2):
            better, worse = sorted((one, other), key=lambda row: -sign * spec.paper[row][metric])
            a, b = scores[better][metric], scores[worse][metric]
            apart, error = difference(a, b)
            if math.isnan(error):
                verdict = "undecided"
            elif is_tie(a, b):
                verdict = "tie"
            else:
                verdict = "as in the paper" if sign * apart > 0 else "other way round"
            orders.append(Order(metric, better, worse, verdict, apart, error))
    return orders


def order_sentences(orders: Sequence[Order]) -> list[str]:
    """Say in which pairs of rows the order is the paper's, which are ties, and which are the other way round."""
    sentences = []
    for better, worse in dict.fromkeys((order.better, order.worse) for order in orders):
        of_pair = [order for order in orders if (order.better, order.worse) == (better, worse)]
        by_verdict = {
            verdict: ", ".join(METRIC_HEADS[o.metric] for o in of_pair if o.verdict == verdict)
            for verdict in ("as in the paper", "tie", "other way round", "undecided")
        }
        told = "; ".join(f"{verdict}: {metrics}" for verdict, metrics in by_verdict.items() if metrics)
        sentences.append(f"{ROWS[better]} better than {ROWS[worse]} in the paper. Here {told}.")
    return sentences
