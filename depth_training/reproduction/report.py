"""The report of a reproduction: Markdown, CSV and PNG from the finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from depth_training.config import TrainingConfig
from depth_training.data.pairs import read_pairs
from depth_training.evaluation import assumed_camera
from depth_training.files import write_whole
from depth_training.metrics import METRIC_NAMES
from depth_training.protocols import NYU_EIGEN
from depth_training.reproduction import paper, table_sections, tables
from depth_training.reproduction.experiments import MOBILENET, ROWS, SQUEEZENET, Experiment, Preset
from depth_training.reproduction.figures import ROW_RULE, choose_rows, draw_curves, draw_maps, predict_rows
from depth_training.reproduction.results import RunResult, select
from depth_training.reproduction.statistics import TIE_RULE, has_plateaued


def write_report(
    output: Path,
    preset: Preset,
    experiments: Sequence[Experiment],
    configs: Sequence[TrainingConfig],
    results: Sequence[RunResult],
    counts: dict[str, int],
    shown_images: Sequence[str] = (),
) -> Path:
    """Write ``report/`` from what is finished; what is not is named.

    Args:
        output: Folder of the reproduction.
        preset: As it was run.
        experiments: All that were asked for.
        configs: Settings of each.
        results: The finished ones.
        counts: Pairs in ``all``, ``subset`` and ``heldout``.
        shown_images: Images of the held-out test that figure 2 shows besides the ones chosen by rule.

    Returns:
        Path of ``report.md``.
    """
    folder = output / "report"
    folder.mkdir(parents=True, exist_ok=True)
    sections = [
        _head(preset, experiments, results, configs),
        _samples(results, counts),
        table_sections.table1_section(folder, results),
        table_sections.efficiency_section(folder, experiments, configs),
        table_sections.leak_section(results),
        table_sections.table2_section(folder, results),
        table_sections.rotation_section(folder, results),
        _curves(folder, results),
        _figure2(folder, output, results, configs[0], shown_images),
        "## Where the paper contradicts itself, or leaves a gap\n\n"
        + "".join(f"- {line}\n" for line in paper.CONTRADICTIONS),
    ]
    path = folder / "report.md"
    write_whole(path, "\n".join(section for section in sections if section))
    return path


def _head(
    preset: Preset, experiments: Sequence[Experiment], results: Sequence[RunResult], configs: Sequence[TrainingConfig]
) -> str:
    finished = {result.experiment.name for result in results}
    missing = [experiment.name for experiment in experiments if experiment.name not in finished]
    data, optimiser = configs[0].data, configs[0].optimiser
    shares = ":".join(map(str, paper.SPLIT_SHARES))
    left_out = f"\nNot finished, and so not in the tables: {', '.join(missing)}.\n" if missing else ""
    return f"""# The paper's experiments, run again

{paper.TITLE}. Preset `{preset.name}`: {data.native_width}x{data.native_height} pixels in, batches of
{optimiser.batch_size}, {len(finished)} of {len(experiments)} runs.

- The paper's numbers are those of its Tables 1 and 2. It judged on 1 % of its own shuffled split. Here every row is
  judged on a held-out test first, which no run chose anything by, and on its own split's parts besides.
- Splits are {shares}: single frames shuffled by pandas, as in the paper, and runs of consecutive indices kept whole.
  Both are CSV files, in `splits/`. The epoch is chosen by the split's validation.
- Protocol: {NYU_EIGEN.describe()}. RMS is divided by the true depth, by the paper's formula.
- "±" is one standard error of seeds and images together; with a single seed, of images alone. {TIE_RULE}
{left_out}"""


def _samples(results: Sequence[RunResult], counts: dict[str, int]) -> str:
    lines = []
    for table in dict.fromkeys(result.experiment.table for result in results):
        summary = next(result.summary for result in results if result.experiment.table == table)
        stated = f"{paper.EPOCHS} epochs of " + (
            "a number of images it does not state"
            if table == "table1"
            else f"{paper.SUBSET_IMAGES} images: at most {paper.EPOCHS * paper.SUBSET_IMAGES}"
        )
        lines.append(
            {
                "table": table,
                "training images": summary["training_images"],
                "epochs": summary["epochs"],
                "samples seen": summary["samples_seen"],
                "the paper": stated if table != "rotation" else "no numbers",
            }
        )
    note = (
        f"Table 2 and the rotation run on {counts['subset']} of the {counts['all']} pairs "
        f"({counts['subset'] / counts['all']:.0%}), the same for all.\n"
    )
    return "## How much was trained\n\n" + tables.markdown(pd.DataFrame(lines)) + "\n" + note


def _curves(folder: Path, results: Sequence[RunResult]) -> str:
    curves: dict[str, Sequence[pd.DataFrame]] = {
        ROWS[row]: [result.curve for result in select(results, "table1", row, "frames")]
        for row in (MOBILENET, SQUEEZENET)
    }
    curves = {name: seeds for name, seeds in curves.items() if seeds}
    if not curves:
        return ""
    draw_curves(curves, folder / "learning_curves.png")
    pd.concat([result.curve.assign(experiment=result.experiment.name) for result in results], ignore_index=True).to_csv(
        folder / "curves.csv", index=False
    )
    lines = []
    for name, seeds in curves.items():
        for number, curve in enumerate(seeds):
            verdicts = [has_plateaued(curve[column].tolist()) for column in ("loss_m", "val_abs_rel")]
            words = [{True: "plateaued", False: "still falling", None: "too few epochs"}[v] for v in verdicts]
            lines.append({"network": name, "seed": number, "training loss": words[0], "validation Rel": words[1]})
    return (
        "## Section 5: had the loss plateaued?\n\nThe paper says that it had not when training ended. A curve counts "
        "as plateaued where its last quarter of epochs is on average less than 1 % below the quarter before.\n\n"
        "![learning curves](learning_curves.png)\n\n" + tables.markdown(pd.DataFrame(lines))
    )


def _figure2(
    folder: Path, output: Path, results: Sequence[RunResult], config: TrainingConfig, shown_images: Sequence[str]
) -> str:
    first = {row: select(results, "table1", row, "frames")[:1] for row in (MOBILENET, SQUEEZENET)}
    runs = {ROWS[row]: found[0] for row, found in first.items() if found}
    if not runs:
        return ""
    judged = next(iter(runs.values())).rows["heldout"]
    chosen = choose_rows(judged["image"].tolist(), judged[METRIC_NAMES[0]].tolist(), shown_images)
    pairs = read_pairs(output / "splits" / "heldout.csv")
    models = [result.run / "model.safetensors" for result in runs.values()]
    maps = predict_rows(models, pairs, chosen, assumed_camera(config.data))
    draw_maps(list(runs), maps, folder / "figure2.png")
    besides = f", and {', '.join(shown_images)}, which were asked for" if shown_images else ""
    return (
        f"## Figure 2\n\nRows: {ROW_RULE}{besides}. Seed {next(iter(runs.values())).experiment.seed}, "
        "shuffled frames.\n\n![depth and error of both networks](figure2.png)\n"
    )
