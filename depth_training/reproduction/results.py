"""Finished runs read back from their folders, as the tables and figures need them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from depth_training.checkpoint import RunError
from depth_training.reproduction.experiments import Experiment
from depth_training.reproduction.judge import read_curve
from depth_training.reproduction.run import RESULT, run_folder
from depth_training.reproduction.statistics import Score

PARTS = ("heldout", "test", "validation")


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        experiment: What was run.
        run: Its folder.
        summary: ``result.json``.
        rows: Per image, by part of the data.
        curve: Per epoch.
    """

    experiment: Experiment
    run: Path
    summary: dict[str, Any]
    rows: dict[str, pd.DataFrame]
    curve: pd.DataFrame


def list_finished(output: Path, experiments: Iterable[Experiment]) -> list[Experiment]:
    """Those of the experiments that are finished."""
    return [experiment for experiment in experiments if (run_folder(output, experiment) / RESULT).exists()]


def read_results(output: Path, experiments: Iterable[Experiment]) -> list[RunResult]:
    """Read those of the experiments that are finished."""
    results = []
    for experiment in list_finished(output, experiments):
        run = run_folder(output, experiment)
        summary = json.loads((run / RESULT).read_text(encoding="utf-8"))
        rows = {part: pd.read_csv(run / f"{part}.csv") for part in PARTS}
        results.append(RunResult(experiment, run, summary, rows, read_curve(run)))
    return results


def select(results: Sequence[RunResult], table: str, row: str, split: str) -> list[RunResult]:
    """All seeds of one row."""
    wanted = (table, row, split)
    return [r for r in results if (r.experiment.table, r.experiment.row, r.experiment.split) == wanted]


def score(results: Sequence[RunResult], part: str, metric: str) -> Score:
    """One metric of all seeds of a row.

    Raises:
        RunError: The seeds were judged on different images.
    """
    first = results[0].rows[part]["image"].tolist()
    for result in results:
        if result.rows[part]["image"].tolist() != first:
            raise RunError(
                f"{result.run / f'{part}.csv'} lists other images than that of the first seed: remove "
                f"{result.run / RESULT} and run again"
            )
    return Score(np.stack([result.rows[part][metric].to_numpy(float) for result in results]))
