"""The command line: prepare, train, evaluate, export."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import cv2
import pandas as pd
import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import track
from rich.table import Table

from depth_training.checkpoint import RunError
from depth_training.config import ConfigError, TrainingConfig, load_config
from depth_training.data import commands as data_commands
from depth_training.data.pairs import read_pair, read_pairs
from depth_training.metrics import METRIC_NAMES
from depth_training.reproduction import command as reproduction_command

# What a user can mend: shown as one sentence, status 2, no traceback.
USER_ERRORS = (OSError, ValueError, RunError)
NYU_FX, NYU_FY = 518.8579, 519.4696

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, evaluate and export monocular depth networks. No ROS needed.",
)
console = Console()
data_commands.register(app)
reproduction_command.register(app)


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
    `encoder_weights=imagenet` (torchvision's download) or, where nothing can be downloaded,
    `encoder_weights=FILE.safetensors`.

    Settings are grouped as network, data, loss, optimiser and machine; depth_training/config.py explains each one, and
    the run's config.yaml shows them all resolved. The best epoch by validation becomes model.safetensors.

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
    config = initialisation.resolve_config(preset, given, init) if init else load_config(preset, given)
    if data:
        config.data.pairs = str(fine_tuning.find_pairs(data, output))
    if replay:
        config.data.replay_pairs = str(replay)
    if init:
        fine_tuning.check_data(config.data)
    if output.joinpath("last.ckpt").exists() and not resume:
        raise ConfigError(f"{output} already holds a run: add --resume to go on with it, or give another --output")
    checkpoint = run_training(config, output, resume)
    rank_zero_only(_report_run)(config, checkpoint, output)  # several processes train, one speaks


def _report_run(config: TrainingConfig, checkpoint: Path, run: Path) -> None:
    from depth_training import fine_tuning, initialisation

    console.print(f"best network: {checkpoint}")
    if config.init:
        before = initialisation.find_checkpoint(config.init)
        table = fine_tuning.compare_before_and_after(config, before, checkpoint, run)
        console.print(table or "nothing was held apart to compare before and after on: data.test_share, --replay")


@app.command()
def evaluate(
    pairs: Annotated[Path, typer.Option(help="CSV file with the columns image, depth (16-bit png, millimetres).")],
    model: Annotated[
        str, typer.Option(help="A bundled name, an .onnx or .pt2 file, or a .safetensors checkpoint.")
    ] = "default",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write one row per image here.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the best, the median and the worst image here (png).")
    ] = None,
    fx: Annotated[
        float, typer.Option(help="Focal length of the images, pixels; the default is NYU Depth V2's.")
    ] = NYU_FX,
    fy: Annotated[float, typer.Option(help="Likewise, vertical.")] = NYU_FY,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Judge a model on image and depth pairs.

    Protocol nyu-eigen: 480x640, Eigen crop, truth in (0.001, 10) m, per image and then averaged, no alignment, no flip
    averaging. `rmse` is in metres; `rmse_relative` is what the paper calls rms. Intervals are 95 % bootstrap over
    images.
    """
    from depth_training.evaluation import Camera, evaluate_pairs, open_model, summarise

    cv2.setNumThreads(1)
    predictor = open_model(model, device)
    listed = read_pairs(pairs)
    camera = Camera(fx, fy)
    rows = pd.DataFrame(
        track(evaluate_pairs(predictor, listed, camera), f"evaluating {model}", len(listed), console=console)
    )
    result = summarise(rows, predictor.contract.name)
    table = Table("metric", "mean", "95 % interval", title=f"{model} on {result['images']} images")
    for name in METRIC_NAMES:
        low, high = result["interval95"][name]
        table.add_row(name, f"{result[name]:.4f}", f"{low:.4f} to {high:.4f}")
    console.print(table)
    if "confidence" in result:
        console.print(_confidence_table(result["confidence"]))
    console.print(result["protocol"], style="dim")
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    if csv_file:
        rows.to_csv(csv_file, index=False)
    if picture:
        _draw_best_median_worst(predictor, listed, rows, camera, picture)


def _confidence_table(confidence: dict) -> Table:
    meanings = {
        "coverage_1_sigma": "share of errors within one sigma; .683 if normal",
        "coverage_2_sigma": "within two; .954 if normal",
        "sparsification_abs_rel": "area over full error, least sure pixels removed; 1.00 at random",
        "sparsification_rmse": "likewise",
        "farthest_abs_rel": "likewise, farthest pixels removed: what to beat",
        "farthest_rmse": "likewise",
    }
    table = Table("confidence", "mean", "95 % interval", "")
    for name, meaning in meanings.items():
        low, high = confidence["interval95"][name]
        table.add_row(name, f"{confidence[name]:.4f}", f"{low:.4f} to {high:.4f}", meaning)
    return table


def _draw_best_median_worst(predictor, pairs, rows: pd.DataFrame, camera, path: Path) -> None:
    from depth_training.evaluation import camera_of, predict_depth
    from depth_training.report import Example, draw_examples

    order = rows["abs_rel"].argsort().to_numpy()
    examples = []
    for label, row in (("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])):
        image_rgb, truth_m = read_pair(pairs[row])
        predicted_m = predict_depth(predictor, image_rgb, camera_of(pairs[row], camera))
        caption = f"{label}: {rows['image'][row]}\nabs_rel {rows['abs_rel'][row]:.3f}"
        examples.append(Example(image_rgb, predicted_m, truth_m, caption))
    console.print(f"picture: {draw_examples(examples, path)}")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors of a run.")],
    output: Annotated[
        Path, typer.Argument(help="A file ending in .onnx (ONNX Runtime), .pt2 (PyTorch, for CUDA) or .safetensors.")
    ],
    half: Annotated[bool, typer.Option(help="Store large weights as float16: half the file, same computation.")] = True,
    metrics: Annotated[Path | None, typer.Option(help="JSON of `evaluate` to record in the contract.")] = None,
) -> None:
    """Export a checkpoint for the robot, with everything the runtime must know inside the file."""
    from depth_training.export import export_checkpoint

    recorded = json.loads(metrics.read_text()) if metrics else None
    path = export_checkpoint(checkpoint, output, half, recorded)
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@app.command()
def calibrate_confidence(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors of a run with network.confidence=true.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of images held apart from training. Left out: what the run itself held apart, "
            "by the config.yaml beside the checkpoint."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write. Left out: NAME_calibrated.safetensors beside the checkpoint.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use so many of the pairs, evenly spread.")] = None,
    fx: Annotated[
        float, typer.Option(help="Focal length of the images, pixels; the default is NYU Depth V2's.")
    ] = NYU_FX,
    fy: Annotated[float, typer.Option(help="Likewise, vertical.")] = NYU_FY,
) -> None:
    """Scale a network's confidence so that 68.3 % of the errors lie within one sigma.

    One factor, fitted on images that were held apart from training. The depth does not change.
    """
    from depth_training.confidence_calibration import calibrate_checkpoint, held_apart_pairs
    from depth_training.evaluation import Camera, evenly_spread

    cv2.setNumThreads(1)
    listed = read_pairs(pairs) if pairs else held_apart_pairs(checkpoint.parent / "config.yaml")
    target = output or checkpoint.with_name(f"{checkpoint.stem}_calibrated.safetensors")
    factor = calibrate_checkpoint(checkpoint, evenly_spread(listed, limit), Camera(fx, fy), target)
    console.print(f"{target}: sigma x {factor:.3f}")


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
