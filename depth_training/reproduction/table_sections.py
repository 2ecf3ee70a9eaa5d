"""The report's sections that are tables: tables 1 and 2, cost, split and rotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from depth_training.config import TrainingConfig
from depth_training.reproduction import paper, tables
from depth_training.reproduction.efficiency import measure_efficiency
from depth_training.reproduction.experiments import MOBILENET, ROTATION_DEG, ROWS, SQUEEZENET, Experiment
from depth_training.reproduction.results import PARTS, RunResult
from depth_training.reproduction.tables import TableSpec

SPLIT_NAMES = {"frames": "shuffled frames (the paper's)", "blocks": "rooms kept whole"}
TABLE1_ROWS = [("table1", MOBILENET), ("table1", SQUEEZENET)]
TABLE2_ROWS = [("table2", "normalization"), ("table2", "grayscale"), ("table2", "none")]
ROTATION_ROWS = [("table2", "normalization"), ("rotation", "rotation")]
SIX = tuple(paper.METRICS)
WITH_LOSS = (*SIX, "loss_m", "loss_cm")


def table1_spec(split: str, part: str) -> TableSpec:
    """Table 1 for one split, judged on one part."""
    return TableSpec("table1", TABLE1_ROWS, split, part, SIX, paper.TABLE1)


def table2_spec(part: str) -> TableSpec:
    """Table 2, judged on one part."""
    return TableSpec("table2", TABLE2_ROWS, "frames", part, WITH_LOSS, paper.TABLE2)


def rotation_spec(part: str) -> TableSpec:
    """The claim of section 2.2, for which the paper prints no numbers."""
    return TableSpec("rotation", ROTATION_ROWS, "frames", part, WITH_LOSS, {})


def _save(folder: Path, name: str, results: Sequence[RunResult], specs: Sequence[TableSpec]) -> None:
    pd.concat([tables.long_table(results, spec) for spec in specs]).to_csv(folder / name, index=False)


def _bullets(sentences: Sequence[str]) -> str:
    return "".join(f"- {sentence}\n" for sentence in sentences)


def table1_section(folder: Path, results: Sequence[RunResult]) -> str:
    """Table 1 for each split and part; writes ``table1.csv``."""
    specs = [table1_spec(split, part) for split in SPLIT_NAMES for part in PARTS]
    _save(folder, "table1.csv", results, specs)
    text = "## Table 1: MobileNetV2 and SqueezeNet\n"
    for spec in specs:
        if not tables.row_scores(results, spec):
            continue
        text += f"\n### Trained on {SPLIT_NAMES[spec.split]}, judged on the {tables.PART_NAMES[spec.part]}\n\n"
        text += tables.markdown(tables.shown_table(results, spec)) + "\n"
        text += _bullets(tables.order_sentences(tables.compare_orders(results, spec)))
    return text


def efficiency_section(folder: Path, experiments: Sequence[Experiment], configs: Sequence[TrainingConfig]) -> str:
    """What the networks of table 1 cost; writes ``efficiency.csv``."""
    by_row = {e.row: config for e, config in zip(experiments, configs, strict=True) if e.table == "table1"}
    if not by_row:
        return ""
    table = measure_efficiency(by_row)
    table.to_csv(folder / "efficiency.csv", index=False)
    return (
        "## What each network costs\n\n"
        "The paper chose MobileNetV2 by accuracy and efficiency and printed no efficiency. Multiply-adds of one image; "
        "median time in eager PyTorch on the CPU, both networks in turn.\n\n" + tables.markdown(table)
    )


def leak_section(results: Sequence[RunResult]) -> str:
    """Rel on a split's own parts beside that on the held-out test."""
    lines = []
    for split, name in SPLIT_NAMES.items():
        for row in (MOBILENET, SQUEEZENET):
            cells = {
                tables.PART_NAMES[part]: tables.show(scores[row]["abs_rel"].mean, scores[row]["abs_rel"].error)
                for part in PARTS
                if row in (scores := tables.row_scores(results, table1_spec(split, part)))
            }
            if cells:
                lines.append({"split": name, "network": ROWS[row], **cells})
    if not lines:
        return ""
    return (
        "## What the split changes: Rel\n\n"
        "Neighbouring frames of one room are on both sides of a shuffled split, so its own validation and test may "
        "look better than rooms that were never seen.\n\n" + tables.markdown(pd.DataFrame(lines).fillna(""))
    )


def table2_section(folder: Path, results: Sequence[RunResult]) -> str:
    """Table 2 for each part; writes ``table2.csv``."""
    specs = [table2_spec(part) for part in PARTS]
    if not tables.row_scores(results, specs[0]):
        return ""
    _save(folder, "table2.csv", results, specs)
    text = (
        "## Table 2: normalization and grayscale\n\nGrayscale is the mean of R, G and B with probability 0.5, without "
        "normalization; None has neither. All three have the two basic augmentations. The loss is that of section 2.3, "
        "with λ as configured; the paper's column has no unit and stands beside centimetres.\n"
    )
    for spec in specs:
        text += f"\n### Judged on the {tables.PART_NAMES[spec.part]}\n\n"
        text += tables.markdown(tables.shown_table(results, spec)) + "\n"
        text += _bullets(tables.order_sentences(tables.compare_orders(results, spec)))
    return text


def rotation_section(folder: Path, results: Sequence[RunResult]) -> str:
    """The claim of section 2.2; writes ``rotation.csv``."""
    specs = [rotation_spec(part) for part in PARTS]
    scores = tables.row_scores(results, specs[0])
    if len(scores) < 2:
        return ""
    _save(folder, "rotation.csv", results, specs)
    # The claim as an order, its numbers of no meaning but which is better, so that one rule judges all tables.
    claim = {"normalization": dict.fromkeys(SIX, 0.0), "rotation": dict.fromkeys(SIX, 0.0)}
    for metric in SIX:
        claim["normalization"][metric] = 1.0 if metric in paper.HIGHER_IS_BETTER else -1.0
    spec = TableSpec("rotation", ROTATION_ROWS, "frames", "heldout", SIX, claim)
    verdicts = {"as in the paper": "worse", "tie": "tie", "other way round": "better", "undecided": "undecided"}
    told = "; ".join(
        f"{tables.METRIC_HEADS[order.metric]}: {verdicts[order.verdict]}"
        for order in tables.compare_orders(results, spec)
    )
    return (
        f"## Section 2.2: rotation\n\nThe paper says that rotation does not improve the prediction, without a number. "
        f"Here every training view is rolled by up to {ROTATION_DEG:g} degrees either way, its depth with it.\n\n"
        + tables.markdown(tables.shown_table(results, specs[0]))
        + f"\nWith rotation, on the held-out test: {told}.\n"
    )
