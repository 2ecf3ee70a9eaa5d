"""A tiny real reproduction through the command line: stopped by Ctrl-C, gone on with, then the same command again."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from safetensors.torch import save_file

SMALL = [
    "data.height=64",
    "data.width=96",
    "data.native_height=72",
    "data.native_width=96",
    "data.workers=0",
    "optimiser.epochs=3",
    "optimiser.batch_size=3",
]


ENVIRONMENT = {**os.environ, "COLUMNS": "400"}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "depth_training", "reproduce", *map(str, arguments)]


def reproduce(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, timeout=280)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, pairs_csv, encoder_weights) -> list:
    folder = tmp_path_factory.mktemp("reproduction")
    table = pd.read_csv(pairs_csv)
    for column in ("image", "depth"):
        table[column] = [str(pairs_csv.parent / name) for name in table[column]]
    table[:9].to_csv(folder / "train.csv", index=False)
    table[9:].to_csv(folder / "heldout.csv", index=False)
    torch.manual_seed(0)
    squeezenet = folder / "squeezenet.safetensors"
    save_file(torchvision.models.squeezenet1_0(weights=None).state_dict(), squeezenet)
    return [
        *("--pairs", folder / "train.csv", "--test", folder / "heldout.csv", "--output", folder / "out"),
        *("--encoder-weights", f"mobilenet_v2={encoder_weights}"),
        *("--encoder-weights", f"squeezenet1_0={squeezenet}"),
        *("--seeds", "1", "--only", "table1_*_frames_*", "--show", "10_rgb.jpg"),
    ]


@pytest.fixture(scope="module")
def stopped(arguments) -> tuple[int, str]:
    """Exit status and output of the command, interrupted once its first run has a checkpoint."""
    checkpoint = arguments[5] / "runs" / "table1_mobilenet_v2_frames_seed0" / "last.ckpt"
    log = arguments[5].with_name("stopped.log")
    with log.open("w") as file:
        process = subprocess.Popen(command(*arguments, *SMALL), stdout=file, stderr=file, env=ENVIRONMENT)
        while not checkpoint.is_file():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        return process.wait(timeout=120), log.read_text()


@pytest.fixture(scope="module")
def output(arguments, stopped):
    result = reproduce(*arguments, *SMALL)
    assert result.returncode == 0, result.stdout + result.stderr
    return arguments[5]


def test_an_interrupt_says_how_to_go_on(stopped):
    status, log = stopped
    assert status == 130
    assert "stopped: the same command goes on from the last whole epoch" in log
    assert "Traceback" not in log


def test_the_report_has_the_tables_and_pictures_of_what_was_run(output):
    report = (output / "report" / "report.md").read_text()
    assert "2 of 2 runs" in report
    assert "| table1 | 6 | 3 | 18 | 7 epochs of a number of images it does not state |" in report
    for text in ("| paper, SqueezeNet |", "| here, SqueezeNet | 1 | 3 |", "GMAC", "too few epochs", "10_rgb.jpg"):
        assert text in report
    assert "Table 2: normalization" not in report
    long = pd.read_csv(output / "report" / "table1.csv").query("judged_on == 'heldout' and metric == 'abs_rel'")
    for row in ("mobilenet_v2", "squeezenet1_0"):
        images = pd.read_csv(output / "runs" / f"table1_{row}_frames_seed0" / "heldout.csv")
        assert long.set_index("row").loc[row, "value"] == pytest.approx(images["abs_rel"].mean())
        assert (images["loss_cm"] > images["loss_m"]).all()
    picture = cv2.imread(str(output / "report" / "figure2.png"))
    assert picture.shape[1] > picture.shape[0] > 4 * 150  # four rows of five maps
    assert np.ptp(picture) > 200
    assert (output / "report" / "learning_curves.png").stat().st_size > 10_000


def test_the_split_files_are_what_was_trained_on(output):
    parts = {
        part: pd.read_csv(output / "splits" / "frames" / f"{part}.csv") for part in ("train", "validation", "test")
    }
    assert [len(parts[part]) for part in parts] == [6, 2, 1]
    result = json.loads((output / "runs" / "table1_mobilenet_v2_frames_seed0" / "result.json").read_text())
    assert (result["training_images"], result["samples_seen"]) == (6, 18)
    assert [result[part]["images"] for part in ("heldout", "validation", "test")] == [3, 2, 1]


def test_the_same_command_again_trains_nothing_and_other_settings_are_refused(arguments, output):
    model = output / "runs" / "table1_mobilenet_v2_frames_seed0" / "model.safetensors"
    before = model.stat().st_mtime_ns
    again = reproduce(*arguments, "--only", "table1_mobilenet_v2_frames_*", *SMALL)
    assert again.returncode == 0, again.stdout + again.stderr
    report = (output / "report" / "report.md").read_text()
    assert "2 of 2 runs" in report  # the other one was finished before
    assert "| here, SqueezeNet | 1 | 3 |" in report
    assert "table1_mobilenet_v2_frames_seed0 is finished" in again.stdout
    assert model.stat().st_mtime_ns == before
    refused = reproduce(*arguments, *SMALL, "optimiser.epochs=4")
    assert refused.returncode == 2
    assert "optimiser.epochs was 3, now 4" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
