"""The command line: ``train`` here, every other command beside what it commands."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from depth_estimation_ros.inference import InferenceError
from depth_training.checkpoint import RunError
from depth_training.config import ConfigError, load_config
from depth_training.data import commands as data_commands
from depth_training.judging import commands as judging_commands
from depth_training.model_files import commands as model_file_commands
from depth_training.prediction import command as prediction_command
from depth_training.reproduction import command as reproduction_command

# What a user can mend: shown as one sentence, status 2, no traceback.
USER_ERRORS = (OSError, ValueError, RunError, InferenceError)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, evaluate and export monocular depth networks. No ROS needed.",
)
console = Console()
for commands in (data_commands, judging_commands, prediction_command, model_file_commands, reproduction_command):
    commands.register(app)


@app.command()
def train(
    preset: Annotated[Path | None, typer.Option(help="YAML preset, for example config/training/frozen.yaml.")] = None,
    output: Annotated[
        Path, typer.Option(help="Folder of the run: checkpoints, logs, config.yaml, model.safetensors.")
    ] = Path("runs/run"),
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint in the folder, if there is one.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the preset's, for example optimiser.epochs=3."),
    ] = None,
) -> None:
    r"""Train a network from a preset.

    The data come from `data.pairs=FILE.csv` (what `prepare` writes), encoder weights from
    `encoder_weights=imagenet` (torchvision's download) or, where nothing can be downloaded,
    `encoder_weights=FILE.safetensors`.

    Settings are grouped as network, data, loss and optimiser; depth_training/config.py explains each one, and the
    run's config.yaml shows them all resolved. The best epoch by validation becomes model.safetensors.

    \b
    python -m depth_training train --preset config/training/frozen.yaml \
        --output runs/frozen data.pairs=../shared/data/nyu2/train.csv \
        encoder_weights=../shared/weights/mobilenet_v2_imagenet_features.safetensors
    """
    from depth_training.training import train as run_training

    config = load_config(preset, overrides or [])
    if output.joinpath("last.ckpt").exists() and not resume:
        raise ConfigError(f"{output} already holds a run: add --resume to go on with it, or give another --output")
    checkpoint = run_training(config, output, resume)
    console.print(f"best network: {checkpoint}")


def main() -> None:
    """Run the command line; errors a user can mend end in one sentence and status 2."""
    logging.basicConfig(format="%(message)s", handlers=[RichHandler(console=console, show_path=False)])
    for ours in ("depth_training", "depth_estimation_ros"):
        logging.getLogger(ours).setLevel(logging.INFO)
    try:
        app()
    except USER_ERRORS as error:
        console.print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("interrupted", style="red")
        sys.exit(130)
