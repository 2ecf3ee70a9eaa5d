"""A tiny real run through the command line: train, kill, resume, evaluate, export, and what is refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from depth_estimation_ros.inference import load_predictor
from depth_training import run_images
from depth_training.confidence_calibration import held_apart_pairs
from depth_training.config import load_config
from depth_training.data.splits import training_and_validation_pairs
from depth_training.evaluation import Camera, evaluate_pairs, open_model
from depth_training.model_files.ensemble import average_checkpoints
from depth_training.network.depth_network import ConfidenceHead
from depth_training.run_images import refuse_changed_images

TINY = Path(__file__).with_name("tiny.yaml")
SMALL = [
    "network.head=log_depth",
    "network.confidence=true",
    "loss.name=log_depth",
    "data.workers=0",
    "optimiser.batch_size=4",
]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "depth_training", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "COLUMNS": "400"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment, timeout=280)


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pairs_csv, encoder_weights) -> Path:
    """A run of four epochs that was killed with SIGKILL after its first and then resumed."""
    folder = tmp_path_factory.mktemp("run") / "run"
    arguments = [
        "train",
        "--preset",
        TINY,
        "--output",
        folder,
        *SMALL,
        f"data.pairs={pairs_csv}",
        f"encoder_weights={encoder_weights}",
    ]
    arguments.append("optimiser.epochs=4")
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen(command(*arguments), stdout=nowhere, stderr=nowhere)
        wait_for((folder / "last.ckpt").is_file, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / "model.safetensors").exists()
    refused = run(*arguments)
    assert refused.returncode == 2
    assert "--resume" in refused.stdout
    resumed = run(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    return folder


def test_a_killed_run_resumes_and_ends_with_every_epoch_once(trained):
    logs = sorted(trained.glob("logs/version_*/metrics.csv"))
    table = pd.concat(pd.read_csv(log) for log in logs)
    epochs = table.dropna(subset=["val/abs_rel"])["epoch"].tolist()
    assert len(logs) == 2
    assert epochs == [0, 1, 2, 3]
    assert (trained / "config.yaml").is_file()


def test_a_run_goes_on_only_with_the_settings_it_had_and_keeps_its_best_epoch_when_moved(trained, pairs_csv, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    best = torch.load(moved / "best.ckpt", weights_only=True)["epoch"]
    kept = (moved / "config.yaml").read_text()
    refused = run("train", "--output", moved, "--resume", "--preset", moved / "config.yaml", "optimiser.seed=5")
    assert refused.returncode == 2
    assert "was begun with other settings (optimiser.seed was 0, now 5)" in refused.stdout
    assert (moved / "config.yaml").read_text() == kept
    longer = run("train", "--output", moved, "--resume", "--preset", moved / "config.yaml", "optimiser.epochs=5")
    assert longer.returncode == 0, longer.stdout + longer.stderr
    table = pd.concat(pd.read_csv(log) for log in moved.glob("logs/version_*/metrics.csv"))
    scores = table.dropna(subset=["val/abs_rel"]).set_index("epoch")["val/abs_rel"]
    assert sorted(scores.index) == [0, 1, 2, 3, 4]
    now = torch.load(moved / "best.ckpt", weights_only=True)["epoch"]
    assert now == (4 if scores[4] < scores.drop(4).min() else best)


def test_a_run_goes_on_only_with_the_images_it_had(trained, pairs_csv, tmp_path):
    """One more pair in the file, and the rooms are dealt anew: what was trained on would be held apart."""
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    data = tmp_path / pairs_csv.parent.parent.name / pairs_csv.parent.name  # a data set that was moved is the same
    shutil.copytree(pairs_csv.parent, data)
    csv = data / pairs_csv.name
    settings = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(settings.replace(str(pairs_csv), str(csv)))
    arguments = ["train", "--output", moved, "--resume", "--preset", moved / "config.yaml", "optimiser.epochs=5"]
    config = load_config(moved / "config.yaml", [])
    training, validation = training_and_validation_pairs(config.data, config.optimiser.seed)
    refuse_changed_images(moved, {"training": training, "validation": validation}, "give another --output")
    shutil.copy(data / "00_rgb.jpg", data / "12_rgb.jpg")
    shutil.copy(data / "00_depth.png", data / "12_depth.png")
    csv.write_text(pairs_csv.read_text() + "12_rgb.jpg,12_depth.png,990\n")
    refused = run(*arguments)
    assert refused.returncode == 2
    assert re.search(r"was begun with \d+ \w+ images, now there are \d+, and \d+ are in one of the two", refused.stdout)


def test_a_run_that_names_itself_as_where_it_began_is_looked_at_once(trained, monkeypatch):
    """As `--init model.safetensors` in a run's own folder once left it in config.yaml."""
    config = load_config(trained / "config.yaml", [f"init={trained / 'model.safetensors'}"])
    monkeypatch.setattr(run_images, "load_config", lambda *_: config)
    apart = held_apart_pairs(trained / "model.safetensors")
    assert run_images.warn_of_learnt(config, {"validation": apart}) == ""


def test_a_network_that_has_learnt_what_is_held_apart_is_named(trained, pairs_csv, tmp_path):
    """With another seed other rooms are held apart; with the same one they are those that it never saw."""
    arguments = ["train", "--init", trained / "model.safetensors", "--preset", trained / "config.yaml"]
    for seed, told in ((0, False), (1, True)):
        run_folder = tmp_path / str(seed)
        result = run(*arguments, "--output", run_folder, f"optimiser.seed={seed}", "optimiser.epochs=1")
        assert result.returncode == 0, result.stdout + result.stderr
        remark = re.search(r"was trained on (\d+) of the (\d+) images that are held apart here", result.stdout)
        apart = {pair.image for pair in held_apart_pairs(run_folder / "model.safetensors")}
        known = apart - {pair.image for pair in held_apart_pairs(trained / "model.safetensors")}
        assert bool(remark) == bool(known) == told
        assert not told or (int(remark[1]), int(remark[2])) == (len(known), len(apart))
        images = open_model(str(run_folder / "model.safetensors")).contract.metrics["images"]
        assert ("perhaps learnt" in images) == told


def test_an_average_of_networks_has_learnt_what_they_have(trained, tmp_path):
    """It lies in no run's folder, so that the pairs file is told by its contract."""
    mean = average_checkpoints([trained / "model.safetensors"] * 2, tmp_path / "mean.safetensors")
    config = load_config(trained / "config.yaml", [f"init={mean}"])
    said = run_images.warn_of_learnt(config, {"validation": held_apart_pairs(trained / "model.safetensors")})
    assert said.startswith(f"{mean} was trained on images of {config.data.pairs}")


def test_evaluation_writes_every_promised_key(trained, pairs_csv, tmp_path):
    result = run(
        "evaluate",
        *("--model", trained / "model.safetensors", "--pairs", pairs_csv),
        *("--json", tmp_path / "m.json", "--csv", tmp_path / "rows.csv", "--picture", tmp_path / "p.png"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    metrics = json.loads((tmp_path / "m.json").read_text())
    names = {"abs_rel", "rmse", "rmse_relative", "log10", "delta1", "delta2", "delta3"}
    assert names | {"images", "protocol", "model", "confidence"} <= set(metrics)
    assert "coverage_1_sigma" in result.stdout
    assert metrics["images"] == 12
    rows = pd.read_csv(tmp_path / "rows.csv")
    for name in names:
        assert rows[name].mean() == pytest.approx(metrics[name])
        low, high = metrics["interval95"][name]
        assert low <= metrics[name] <= high
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_the_depth_is_stretched_to_what_the_run_held_apart_or_to_given_pairs(trained, pairs_csv, tmp_path):
    for options in ((), ("--pairs", pairs_csv, "--limit", 2)):
        result = run("calibrate-depth", trained / "model.safetensors", "--output", tmp_path / "s.safetensors", *options)
        assert result.returncode == 0, result.stdout + result.stderr
        found = re.search(
            r"s\.safetensors: gain ([\d.]+), shift \S+; mean log error ([\d.]+) to ([\d.]+)", result.stdout
        )
        assert found, result.stdout
        assert float(found[3]) <= float(found[2])
    image = np.random.default_rng(1).integers(0, 256, (72, 96, 3), dtype=np.uint8)
    before, after = (open_model(str(file)).predict(image) for file in (
        trained / "model.safetensors", tmp_path / "s.safetensors"
    ))  # fmt: skip
    assert not np.array_equal(before.depth_m, after.depth_m)


def test_the_confidence_is_calibrated_on_what_the_run_held_apart(trained, tmp_path):
    """Without --pairs; the evaluation then shows the confidence beside the metrics."""
    result = run("calibrate-confidence", trained / "model.safetensors", "--output", tmp_path / "c.safetensors")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "c.safetensors: sigma x " in result.stdout
    apart = held_apart_pairs(trained / "model.safetensors")
    assert 0 < len(apart) < 12
    rows = pd.DataFrame(evaluate_pairs(open_model(str(tmp_path / "c.safetensors")), apart, Camera(518.8579, 519.4696)))
    assert rows["coverage_1_sigma"].mean() == pytest.approx(0.683, abs=0.02)


def test_a_run_that_held_nothing_apart_takes_the_factor_of_another(trained, tmp_path):
    result = run(
        *(
            "calibrate-confidence",
            trained / "model.safetensors",
            "--factor",
            1.5,
            "--output",
            tmp_path / "c.safetensors",
        )
    )
    assert result.returncode == 0, result.stdout + result.stderr
    image = np.random.default_rng(1).integers(0, 256, (72, 96, 3), dtype=np.uint8)
    before, after = (open_model(str(file)).predict(image) for file in (
        trained / "model.safetensors", tmp_path / "c.safetensors"
    ))  # fmt: skip
    assert np.array_equal(before.depth_m, after.depth_m)
    low, high = np.exp(ConfidenceHead.LOG_SIGMA_RANGE)
    inside = (before.log_depth_sigma > 1.01 * low) & (after.log_depth_sigma < 0.99 * high)
    assert inside.mean() > 0.5
    assert np.allclose(after.log_depth_sigma[inside] / before.log_depth_sigma[inside], 1.5, rtol=1e-3)


def test_exported_models_answer_as_the_checkpoint_does(trained, tmp_path):
    """Within 1e-3 relative depth at the 99th percentile, at several sizes, for both formats."""
    reference = open_model(str(trained / "model.safetensors"))
    random = np.random.default_rng(1)
    for name in ("m.onnx", "m.pt2"):
        result = run("export", trained / "model.safetensors", tmp_path / name)
        assert result.returncode == 0, result.stdout + result.stderr
        exported = load_predictor(tmp_path / name)
        assert exported.contract == reference.contract
        for size in ((72, 96), (96, 72), (66, 130)):
            image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            expected, actual = reference.predict(image), exported.predict(image)
            for plane in ("depth_m", "log_depth_sigma"):
                ratio = getattr(actual, plane) / getattr(expected, plane)
                assert np.percentile(np.abs(ratio - 1), 99) < 1e-3, (name, size, plane)


def test_the_contract_tells_the_training_camera(trained):
    contract = open_model(str(trained / "model.safetensors")).contract
    assert contract.training_fx == pytest.approx(518.8579 * 96 / 640)
    assert contract.training_fy == pytest.approx(519.4696 * 72 / 480)
    assert contract.metrics["abs_rel"] > 0


PAIRS = "a pairs file that can be used"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "data.pears=x"], "pears"),
        (["train", "--preset", "none.yaml"], "does not exist"),
        (["train", "--output", "unused"], "data.pairs"),
        (["train", "data.shrink=1.5", "data.pairs=x"], "data.shrink is 1.5: it is a share"),
        (["train", "optimiser.epochs=many", "data.pairs=x"], "many"),
        (["train", "network.still_norms=true", "data.pairs=x"], "network.still_norms keeps the statistics of the net"),
        (
            ["train", "network.head=log_depth", "network.greatest_depth_m=2", "data.pairs=x"],
            "give them in rising order",
        ),
        (["train", "init=default", "network.head=linear", "data.pairs=x"], "contradicts the checkpoint default"),
        (["train", "optimiser.kept_epoch=first", "data.pairs=x"], "optimiser.kept_epoch is 'first': give best or last"),
        (["train", "optimiser.schedule=cosine", "data.pairs=x"], "optimiser.schedule is 'cosine': give constant or"),
        (["train", "optimiser.batch_size=0", "data.pairs=x"], "optimiser.batch_size is 0"),
        (["train", "network.widths=[192,128", "data.pairs=x"], "is no YAML"),
        (["train", "--output", "unused", "data.pairs=none.csv"], "none.csv does not exist"),
        (["evaluate", "--pairs", "none.csv"], "none.csv does not exist"),
        (["evaluate", "--pairs", PAIRS, "--model", "none.safetensors"], "none.safetensors does not exist"),
        (["evaluate", "--pairs", PAIRS, "--model", "nonesuch"], "nonesuch"),
        (["evaluate", "--pairs", PAIRS, "--model", "m.safetensors", "--device", "tpu"], "device 'tpu' is unknown"),
        (["export", "none.safetensors", "m.onnx"], "none.safetensors does not exist"),
        (["calibrate-confidence", "none.safetensors"], "config.yaml does not exist"),
        (["calibrate-confidence", "m.safetensors", "--like", "n.safetensors"], "give those by --pairs"),
        (["calibrate-confidence", "m.safetensors", "--like", "n.safetensors", "--factor", "2"], "leave them out"),
        (
            ["calibrate-confidence", "m.safetensors", "--like", "n.safetensors", "--pairs", PAIRS],
            "m.safetensors does not",
        ),
        (["calibrate-depth", "none.safetensors"], "config.yaml does not exist"),
        (["calibrate-depth", "none.safetensors", "--pairs", PAIRS], "none.safetensors does not exist"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_what_a_user_can_mend_is_one_sentence_and_status_2(arguments, reason, tmp_path, monkeypatch, pairs_csv):
    monkeypatch.chdir(tmp_path)
    result = run(*(pairs_csv if argument == PAIRS else argument for argument in arguments))
    assert result.returncode == 2
    assert reason in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_an_export_to_another_ending_is_refused(trained, tmp_path):
    result = run("export", trained / "model.safetensors", tmp_path / "m.pth")
    assert result.returncode == 2
    assert ".onnx" in result.stdout


def test_a_checkpoint_that_was_cut_off_is_named(tmp_path, pairs_csv, encoder_weights):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 and no end")
    result = run(
        "train", "--output", folder, "--resume", f"data.pairs={pairs_csv}", f"encoder_weights={encoder_weights}"
    )
    assert result.returncode == 2
    assert "cut off" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
