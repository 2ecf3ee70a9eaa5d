"""Runs killed by SIGKILL in the middle of an epoch, and of a write, end with the weights of one that was left alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from depth_estimation_ros.inference.model_file import CONTRACT_KEY

pytestmark = pytest.mark.timeout(1500)  # a dozen runs one after the other, on machines of any speed
TINY = Path(__file__).with_name("tiny.yaml")
SETTINGS = [
    "network.light_decoder=true",
    "network.global_context=true",  # has dropout
    "network.head=log_depth",
    "network.confidence=true",
    "network.freeze_encoder=false",
    "loss.name=log_depth",
    "data.channel_swap=0.5",
    "data.grayscale=0.3",
    "data.jitter=0.3",
    "data.zoom=0.7",
    "data.border_shown=0.5",
    "data.turn=0.5",
    "data.tilt_deg=4",
    "data.rotation_deg=4",
    "data.dequantise_m=0.02",
    "optimiser.batch_size=2",
    "optimiser.epochs=4",  # of four steps each
    "optimiser.schedule=one_cycle",
    "optimiser.learning_rate=0.01",
    "optimiser.clip_norm=1",
    "optimiser.ema_decay=0.9",
]
# Each life of a run is a process of its own, forked once everything is imported; the power goes off at one step, or
# when a checkpoint has been written but not yet named.
LIVES = """
import json, os, signal, sys, traceback
from pathlib import Path
from depth_training import cli, files, training
from depth_training.config import load_config

def live(run, settings, when, step):
    work, replace, at = training.DepthModule.training_step, os.replace, {"step": -1}
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
    def training_step(self, batch, batch_index):
        at["step"] = self.global_step
        if (when, step) == ("step", at["step"]):
            die()
        return work(self, batch, batch_index)
    def naming(source, target):
        if when == "write" and at["step"] >= step and str(target).endswith("last.ckpt"):
            die()
        return replace(source, target)
    training.DepthModule.training_step, files.os.replace = training_step, naming
    training.train(load_config(Path(sys.argv[3]), settings), Path(run), resume=True)

statuses = []
for life in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        try:
            live(*life)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
Path(sys.argv[2]).write_text(json.dumps(statuses))
"""


def live(lives: list, folder: Path) -> list[int]:
    """Exit statuses of (run, settings, when, step), one after the other."""
    # Files, not pipes: loader processes outlive their killed parent by some seconds.
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-c", LIVES, json.dumps(lives), str(folder / "statuses"), str(TINY)]
        result = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, (folder / "log").read_text()
    return json.loads((folder / "statuses").read_text())


def model_of(run: Path) -> tuple[dict, bytes]:
    """Header and weights of model.safetensors; the header's entries stand in no certain order."""
    content = (run / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    contract = json.loads(header["__metadata__"].pop(CONTRACT_KEY))
    return {**header, "contract": {**contract, "git_revision": ""}}, content[end:]


@pytest.fixture(scope="module")
def settings(pairs_csv, encoder_weights) -> list[str]:
    return [*SETTINGS, f"data.pairs={pairs_csv}", f"encoder_weights={encoder_weights}"]


def test_killed_runs_end_with_the_bytes_of_one_that_was_left_alone(settings, tmp_path):
    one, two = [*settings, "data.workers=1"], [*settings, "data.workers=2", "optimiser.checkpoint_steps=2"]
    a, b, c = (str(tmp_path / name) for name in "abc")
    lives = [
        (a, one, "never", 0),
        # Before there is any checkpoint; within the second epoch; within the third.
        *((b, one, "step", step) for step in (2, 6, 10)),
        (b, one, "never", 0),
        # With checkpoints within epochs: before the second of an epoch, while one is written, at an epoch's last step.
        *((c, two, *death) for death in (("step", 3), ("write", 9), ("step", 11))),
        (c, two, "never", 0),
    ]
    assert live(lives, tmp_path) == [0, *(3 * [-signal.SIGKILL]), 0, *(3 * [-signal.SIGKILL]), 0], (
        tmp_path / "log"
    ).read_text()
    header, weights = model_of(tmp_path / "a")
    for run in "bc":
        other_header, other_weights = model_of(tmp_path / run)
        assert other_weights == weights, run
        assert other_header == header, run
        last = torch.load(tmp_path / run / "last.ckpt", weights_only=True)
        expected = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)
        for part in ("state_dict", "current_model_state", "averaging_state"):
            for name, value in expected[part].items():
                assert torch.equal(last[part][name], value), (run, part, name)
        assert last["lr_schedulers"] == expected["lr_schedulers"]


def test_another_seed_gives_other_bytes(settings, tmp_path):
    """The comparison above would see a difference."""
    runs = [[*settings, "data.workers=0", "optimiser.epochs=1", f"optimiser.seed={seed}"] for seed in (0, 1)]
    lives = [(str(tmp_path / str(number)), run, "never", 0) for number, run in enumerate(runs)]
    assert live(lives, tmp_path) == [0, 0], (tmp_path / "log").read_text()
    first, second = (load_file(tmp_path / str(number) / "model.safetensors") for number in (0, 1))
    assert any(not torch.equal(first[name], second[name]) for name in first)
