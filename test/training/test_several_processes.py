"""Two processes that share each batch, on a CPU over gloo, against one: the same losses, metrics and weights."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.timeout(1500)
TINY = Path(__file__).with_name("tiny.yaml")
SETTINGS = [
    "data.split=frames",
    "data.validation_share=0.25",  # three images: they cannot be shared out evenly
    "data.zoom=1",
    "data.zoom_least=0.6",  # views reach outside the image: depth is known at unequal numbers of pixels
    "data.jitter=0.3",
    "data.workers=1",
    "optimiser.batch_size=4",
    "optimiser.epochs=2",
    "optimiser.learning_rate=0.001",
    "optimiser.schedule=one_cycle",
    "optimiser.clip_norm=1",
    "optimiser.ema_decay=0.9",
    "machine.accelerator=cpu",
]
# Sums of float32 in another order. Where a gradient is next to nothing Adam makes a whole step of its rounding, so the
# weights are held against the length of the steps taken.
LOSS_TOLERANCE = 1e-4
WEIGHT_TOLERANCE = 1e-4


def train(run: Path, pairs_csv: Path, encoder_weights: Path, *more: str) -> str:
    command = [sys.executable, "-m", "depth_training", "train", "--preset", str(TINY), "--output", str(run), *SETTINGS]
    command += [f"data.pairs={pairs_csv}", f"encoder_weights={encoder_weights}", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory, pairs_csv, encoder_weights) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("processes")
    train(folder / "one", pairs_csv, encoder_weights)
    printed = train(folder / "two", pairs_csv, encoder_weights, "machine.devices=2")
    return folder / "one", folder / "two", printed


def test_two_processes_match_one(runs):
    one, two, _ = runs
    tables = [pd.read_csv(run / "logs" / "version_0" / "metrics.csv").groupby("epoch").last() for run in (one, two)]
    columns = [name for name in tables[0].columns if name.startswith(("train/", "val/"))]
    assert {"train/loss", "val/abs_rel", "val/delta1"} <= set(columns)
    assert len(tables[0]) == 2
    pd.testing.assert_frame_equal(tables[0][columns], tables[1][columns], rtol=LOSS_TOLERANCE, atol=1e-6)
    weights = [load_file(run / "model.safetensors") for run in (one, two)]
    start = {name for name in weights[0] if name.startswith("encoder.")}
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=0, atol=0 if name in start else WEIGHT_TOLERANCE)


def test_one_process_alone_writes_and_speaks(runs):
    _, two, printed = runs
    assert printed.count("network: ") == 1
    assert printed.count("training and 3 validation pairs") == 1
    assert len(list(two.glob("logs/version_*"))) == 1
    assert len(list(two.glob("tensorboard/events*"))) == 1
