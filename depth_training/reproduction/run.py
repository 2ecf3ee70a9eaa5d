"""The loop over the experiments: what is finished is skipped, what was stopped goes on."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from depth_training.checkpoint import RunError
from depth_training.config import TrainingConfig, load_config
from depth_training.files import write_whole
from depth_training.reproduction.experiments import Experiment

RESULT = "result.json"
# Where things lie, how many processes work and how often they save is no part of what was run; the split files are
# checked apart.
FREE_KEYS = (
    "data.pairs", "data.validation_pairs", "data.workers", "data.cache", "optimiser.checkpoint_steps",
    "machine.accelerator", "machine.devices", "machine.nodes",
)  # fmt: skip

Train = Callable[[TrainingConfig, Path, bool], Path]
Judge = Callable[[Experiment, TrainingConfig, Path], dict[str, Any]]

logger = logging.getLogger(__name__)


@contextmanager
def only_one(output: Path) -> Iterator[None]:
    """Hold a folder against a second `reproduce`; a process that died holds nothing.

    Raises:
        RunError: Another process has it.
    """
    output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"another `reproduce` is at work in {output}: wait until it has ended, or give another --output"
        ) from error
    try:
        yield
    finally:
        lock.release()


def run_folder(output: Path, experiment: Experiment) -> Path:
    """Where an experiment's run lies."""
    return output / "runs" / experiment.name


def flat_settings(config: TrainingConfig) -> dict[str, Any]:
    """Settings by dotted key, without those that may differ between two starts of one experiment."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, values: dict[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                walk(f"{prefix}{key}.", value)
            else:
                flat[f"{prefix}{key}"] = value

    walk("", dataclasses.asdict(config))
    weights = flat["encoder_weights"]
    flat["encoder_weights"] = Path(weights).name if weights else weights
    return {key: value for key, value in flat.items() if key not in FREE_KEYS}


def refuse_changed_settings(run: Path, config: TrainingConfig) -> None:
    """Compare the settings of a run that has results or checkpoints with those asked for now.

    Raises:
        RunError: They differ.
    """
    # A folder with neither holds nothing that was learnt: its settings may be half written.
    if not any((run / name).exists() for name in (RESULT, "last.ckpt", "model.safetensors")):
        return
    before, now = flat_settings(load_config(run / "config.yaml", [])), flat_settings(config)
    changed = [f"{key} was {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
    if changed:
        state = "finished" if (run / RESULT).exists() else "begun"
        raise RunError(
            f"{run} was {state} with other settings ({'; '.join(changed)}): give the settings it had, "
            f"another --output, or remove {run} to run it again"
        )


def run_experiments(
    experiments: Sequence[Experiment],
    configs: Sequence[TrainingConfig],
    output: Path,
    train: Train,
    judge: Judge,
) -> list[str]:
    """Train and judge each experiment that is not finished.

    Args:
        experiments: In this order.
        configs: Settings of each.
        output: Folder of the reproduction.
        train: As :func:`depth_training.training.train`: settings, folder, whether to resume; returns the checkpoint.
        judge: Measures the trained run; what it returns becomes the run's ``result.json``.

    Returns:
        Names of the experiments that were run now.

    Raises:
        RunError: An experiment has other settings than before; said before any training.
        KeyboardInterrupt: Stopped by the user; the next call goes on from the last checkpoint.
    """
    for experiment, config in zip(experiments, configs, strict=True):
        refuse_changed_settings(run_folder(output, experiment), config)
    done_now = []
    for number, (experiment, config) in enumerate(zip(experiments, configs, strict=True), 1):
        run = run_folder(output, experiment)
        if (run / RESULT).exists():
            logger.info("%d of %d: %s is finished", number, len(experiments), experiment.name)
            continue
        logger.info("%d of %d: %s", number, len(experiments), experiment.name)
        started_s = time.monotonic()
        if not (run / "model.safetensors").exists():
            _train_until_done(train, config, run)
        result = {"experiment": dataclasses.asdict(experiment), **judge(experiment, config, run)}
        result["minutes_of_last_start"] = (time.monotonic() - started_s) / 60
        write_whole(run / RESULT, json.dumps(result, indent=2) + "\n")
        # Nothing goes on from them any more, and with the optimiser's state they are most of the disk.
        for checkpoint in run.glob("*.ckpt"):
            checkpoint.unlink()
        done_now.append(experiment.name)
    return done_now


def _train_until_done(train: Train, config: TrainingConfig, run: Path) -> None:
    try:
        train(config, run, True)
    except SystemExit as error:
        # pytorch-lightning turns Ctrl-C into an exit with status 1.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
