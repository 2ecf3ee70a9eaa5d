"""What a run was begun with, held against what is asked for now."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depth_training.checkpoint import RunError
from depth_training.config import TrainingConfig, load_config

# How many processes work, how often they save and where decoded pairs lie is no part of what was run.
FREE_KEYS = (
    "data.workers", "data.cache", "optimiser.checkpoint_steps", "machine.accelerator", "machine.devices",
    "machine.nodes",
)  # fmt: skip
# A folder that was moved as a whole is the same run.
PATH_KEYS = ("init", "data.pairs", "data.validation_pairs", "data.replay_pairs", "loss.teacher")


def flat_settings(config: TrainingConfig, free_keys: Sequence[str]) -> dict[str, Any]:
    """Settings by dotted key, paths by their last three names, without those that may differ between two starts."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, values: dict[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                walk(f"{prefix}{key}.", value)
            else:
                flat[f"{prefix}{key}"] = value

    walk("", dataclasses.asdict(config))
    flat["encoder_weights"] = Path(flat["encoder_weights"]).name  # downloads lie anywhere
    for key in PATH_KEYS:
        flat[key] = "/".join(Path(flat[key]).parts[-3:])
    return {key: value for key, value in flat.items() if key not in free_keys}


def refuse_changed_settings(run: Path, config: TrainingConfig, state: str, free_keys: Sequence[str]) -> None:
    """Compare the settings that a run was begun with, its ``config.yaml``, with those asked for now.

    Args:
        run: Folder of the run.
        config: What is asked for.
        state: Of the run, for the message: begun, finished.
        free_keys: Which settings may differ.

    Raises:
        RunError: Others differ.
    """
    before, now = (flat_settings(each, free_keys) for each in (load_config(run / "config.yaml", []), config))
    changed = [f"{key} was {before.get(key)}, now {now[key]}" for key in now if before.get(key) != now[key]]
    if changed:
        raise RunError(
            f"{run} was {state} with other settings ({'; '.join(changed)}): give the settings it had (--preset "
            f"{run / 'config.yaml'} has them), another --output, or remove {run} to run it again"
        )
