"""The command ``reproduce``."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer
from rich.console import Console

from depth_training.config import ConfigError, load_config

console = Console()


def reproduce(
    pairs: Annotated[Path, typer.Option(help="CSV file of the pairs to train on, such as `prepare` writes.")],
    test: Annotated[Path, typer.Option(help="CSV file of a held-out test, reported beside the paper's own split.")],
    output: Annotated[Path, typer.Option(help="Folder of the splits, the runs and the report.")],
    preset: Annotated[
        str, typer.Option(help="cpu (192x256, about two hours on two cores) or paper (480x640).")
    ] = "cpu",
    encoder_weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENCODER=FILE", help="Weights of mobilenet_v2 or squeezenet1_0; torchvision's download by default."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of every row, in place of the preset's.")] = None,
    only: Annotated[str, typer.Option(help="Run only experiments whose names match, for example 'table1_*'.")] = "*",
    show: Annotated[
        list[str] | None, typer.Option(help="Image of the test that figure 2 shows too; may be given several times.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the preset's, for all experiments."),
    ] = None,
) -> None:
    r"""Run the paper's experiments and write OUTPUT/report: its tables and figures beside the paper's numbers.

    Stop it with Ctrl-C and give the same command again: finished experiments are kept, a stopped one goes on from its
    last whole epoch.

    \b
    python -m depth_training reproduce --preset cpu --output runs/paper \
        --pairs ../shared/data/nyu2/train.csv --test ../shared/data/nyu2/test_public.csv \
        --encoder-weights mobilenet_v2=../shared/weights/mobilenet_v2_imagenet_features.safetensors \
        --encoder-weights squeezenet1_0=../shared/weights/squeezenet1_0_imagenet.safetensors
    """
    from depth_training.reproduction.experiments import PRESETS, list_experiments, training_config
    from depth_training.reproduction.judge import judge_run
    from depth_training.reproduction.report import write_report
    from depth_training.reproduction.results import list_finished, read_results
    from depth_training.reproduction.run import only_one, run_experiments, run_folder
    from depth_training.reproduction.split_files import refuse_size, split_folder, write_splits
    from depth_training.training import train

    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}: choose {' or '.join(PRESETS)}")
    size = PRESETS[preset]
    weights = parse_encoder_weights(encoder_weights or [], list(size.widths))
    everything = list_experiments(size, seeds)
    experiments = [experiment for experiment in everything if fnmatch(experiment.name, only)]
    if not experiments:
        raise ConfigError(f"--only {only!r} matches none of {', '.join(experiment.name for experiment in everything)}")
    configs = [
        training_config(
            experiment, size, split_folder(output, experiment.split, experiment.subset), weights, overrides or []
        )
        for experiment in experiments
    ]
    cv2.setNumThreads(1)
    for csv in (pairs, test):
        refuse_size(csv)
    with only_one(output):
        # What was finished before stays in the report, whatever --only asks for now.
        finished = {
            e.name: load_config(run_folder(output, e) / "config.yaml", []) for e in list_finished(output, everything)
        }
        all_configs = finished | dict(zip((e.name for e in experiments), configs, strict=True))
        reported = [experiment for experiment in everything if experiment.name in all_configs]
        counts = write_splits(pairs, test, output, size.subset_images, {(e.split, e.subset) for e in reported})
        try:
            run_experiments(
                experiments,
                configs,
                output,
                train,
                lambda experiment, config, run: judge_run(output, experiment, config, run),
            )
        except KeyboardInterrupt as interrupt:
            console.print(f"stopped: the same command goes on from the last whole epoch in {output}", style="red")
            raise typer.Exit(130) from interrupt
        results = read_results(output, reported)
        reported_configs = [all_configs[experiment.name] for experiment in reported]
        report = write_report(output, size, reported, reported_configs, results, counts, show or [])
    console.print(f"report: {report}", soft_wrap=True)


def parse_encoder_weights(given: list[str], encoders: list[str]) -> dict[str, str]:
    """Read ``ENCODER=FILE`` options.

    Raises:
        ConfigError: Not of that form, an unknown encoder, or no such file.
    """
    weights = {}
    for option in given:
        encoder, equals, file = option.partition("=")
        if not equals or encoder not in encoders:
            raise ConfigError(
                f"--encoder-weights {option}: write ENCODER=FILE, the encoder one of {', '.join(encoders)}"
            )
        if file != "imagenet" and not Path(file).is_file():
            raise ConfigError(f"--encoder-weights {option}: {file} does not exist; give a .safetensors file")
        weights[encoder] = file
    return weights


def register(app: Any) -> None:
    """Add the command to the command line."""
    app.command()(reproduce)
