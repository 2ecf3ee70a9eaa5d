"""What ends a run: one sentence with the remedy, status 2, and the last good checkpoint still there."""

import contextlib
import resource
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from depth_training import cli, training

TINY = Path(__file__).with_name("tiny.yaml")
SMALL = [
    "data.workers=1",
    "optimiser.batch_size=2",
    "optimiser.epochs=1",
    "machine.accelerator=cpu",
]


@pytest.fixture
def train(tmp_path, pairs_csv, encoder_weights, monkeypatch, capsys):
    """Run the command in this process; returns its status and what it printed."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str, pairs: Path = pairs_csv) -> tuple[int, str]:
        fixed = [f"data.pairs={pairs}", f"encoder_weights={encoder_weights}"]
        command = ["depth_training", "train", "--preset", str(TINY), "--output", str(tmp_path / "run")]
        monkeypatch.setattr(sys, "argv", [*command, *SMALL, *fixed, *arguments])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        return exit_info.value.code, capsys.readouterr().out

    return run


def error_of(output: str) -> str:
    """The one line that begins with error; nothing follows it."""
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert output.rstrip().endswith(line)
    return line


def broken_pairs(folder: Path, kind: str) -> Path:
    """Twelve pairs, of which one that no look at some of them meets is broken."""
    lines = ["image,depth,index"]
    for number in range(12):
        image, depth_mm = np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 2000, np.uint16)
        if number == 3:
            depth_mm = {"8 bit": depth_mm.astype(np.uint8), "other size": depth_mm[:24]}[kind]
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
        cv2.imwrite(str(folder / f"{number}.png"), depth_mm)
        lines.append(f"{number}.jpg,{number}.png,{number * 10}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder / "pairs.csv"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("8 bit", "3.png is uint8 of shape"), ("other size", "3.jpg is 64x48 but")],
)
def test_a_pair_that_a_loader_process_cannot_use_is_named_in_one_sentence(train, tmp_path, kind, reason):
    status, output = train("data.validation_share=0", pairs=broken_pairs(tmp_path, kind))
    assert status == 2
    assert reason in error_of(output)


def test_a_missing_column_is_named(train, tmp_path):
    (tmp_path / "other.csv").write_text("rgb,depth\na,b\n")
    status, output = train(pairs=tmp_path / "other.csv")
    assert status == 2
    assert "lacks the column image" in error_of(output)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("data.validation_share=1", "0 for training and 12 for validation"),
        ("optimiser.batch_size=9", "8 training pairs do not fill one batch, which takes 9"),
        ("machine.devices=3", "optimiser.batch_size=2 cannot be shared out to machine.devices=3"),
        ("network.least_depth_m=0", "network.least_depth_m is 0 and greatest_depth_m"),
        ("network.greatest_depth_m=0.05", "two depths in rising order above 0"),
        ("name=''", "name is empty"),
        ("data.shrink_least=0", "data.shrink_least is 0"),
    ],
)
def test_settings_that_leave_nothing_to_train_on_or_to_keep_are_refused(train, setting, reason):
    status, output = train(setting)
    assert status == 2
    assert reason in error_of(output)


def test_an_epoch_that_the_held_apart_images_choose_is_not_called_the_last(train):
    status, output = train("optimiser.kept_epoch=last", "optimiser.early_stopping=4")
    assert status == 2
    assert "set optimiser.early_stopping=0" in error_of(output)


def test_held_apart_images_without_depth_in_range_end_the_run_after_its_first_epoch(train, tmp_path, pairs_csv, caplog):
    """That their unit is doubtful was said at the start."""
    table = pd.read_csv(pairs_csv)
    for number, row in enumerate(table.itertuples()):
        depth_mm = cv2.imread(str(pairs_csv.parent / row.depth), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full_like(depth_mm, 31_000))
        table.loc[number, "image"] = str(pairs_csv.parent / row.image)
        table.loc[number, "depth"] = f"{number}.png"
    table.to_csv(tmp_path / "far.csv", index=False)
    status, output = train(pairs=tmp_path / "far.csv")
    assert status == 2
    assert "not one of the images held apart has a pixel to judge by" in error_of(output)
    assert "median depth 31 m over 8 images" in caplog.text
    assert "`prepare --unit`" in caplog.text


def test_a_loss_that_is_not_finite_names_the_images_and_keeps_the_checkpoint(train, tmp_path, monkeypatch):
    """From the second epoch on."""
    step = training.DepthModule.training_step

    def spoiled(self, batch, batch_index):
        if self.global_step >= 5:
            self.loss.forward = lambda predicted_m, truth_m: {"loss": predicted_m.sum() * float("nan")}
        return step(self, batch, batch_index)

    monkeypatch.setattr(training.DepthModule, "training_step", spoiled)
    status, output = train("optimiser.epochs=3")
    assert status == 2
    sentence = error_of(output)
    assert "the loss is nan at step 5 (epoch 1)" in sentence
    assert sentence.count("_rgb.jpg") == 2
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    assert all(torch.isfinite(value).all() for value in last["state_dict"].values())


def test_a_gpu_without_memory_left_is_told_in_one_sentence(train, monkeypatch):
    def spoiled(self, batch, batch_index):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(training.DepthModule, "training_step", spoiled)
    status, output = train()
    assert status == 2
    assert "no memory left for batches of 2: lower optimiser.batch_size" in error_of(output)


@contextlib.contextmanager
def files_limited_to(size: int):
    """To a process, a file that may not grow further looks as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_in_one_sentence_and_keeps_the_checkpoint(train, tmp_path):
    at_hand = "data.workers=0"  # the limit would hold for shared memory too
    assert train(at_hand)[0] == 0
    run = tmp_path / "run"
    before = (run / "last.ckpt").read_bytes()
    with files_limited_to(1_000_000):
        status, output = train("--resume", "optimiser.epochs=2", at_hand)
    assert status == 2
    assert "the disk of" in error_of(output)
    assert "--resume" in error_of(output)
    assert (run / "last.ckpt").read_bytes() == before
    assert not list(run.glob("*.part"))
    status, output = train("--resume", "optimiser.epochs=2", at_hand)
    assert status == 0, output
