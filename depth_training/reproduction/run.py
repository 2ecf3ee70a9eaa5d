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

from depth_training import run_settings
from depth_training.checkpoint import RunError
from depth_training.config import TrainingConfig
from depth_training.files import write_whole
from depth_training.reproduction.experiments import Experiment

RESULT = "result.json"
# The split files are checked apart.
SPLIT_KEYS = ("data.pairs", "data.validation_pairs")

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


def refuse_changed_settings(run: Path, config: TrainingConfig) -> None:
    """Compare the settings of a run that has results or checkpoints with those asked for now.

    Raises:
        RunError: They differ.
    """
    # A folder with neither holds nothing that was learnt: its settings may be half written.
    if not any((run / name).exists() for name in (RESULT, "last.ckpt", "model.safetensors")):
        return
    run_settings.refuse_changed_settings(
        run, config, "finished" if (run / RESULT).exists() else "begun", (*run_settings.FREE_KEYS, *SPLIT_KEYS)
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
            train(config, run, True)
        result = {"experiment": dataclasses.asdict(experiment), **judge(experiment, config, run)}
        result["minutes_of_last_start"] = (time.monotonic() - started_s) / 60
        write_whole(run / RESULT, json.dumps(result, indent=2) + "\n")
        # Nothing goes on from them any more, and with the optimiser's state they are most of the disk.
        for checkpoint in run.glob("*.ckpt"):
            checkpoint.unlink()
        done_now.append(experiment.name)
    return done_now
