"""A network that knows one set is taught a recording of another camera in other rooms, and keeps what it knew."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags")

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_training import cli
from depth_training.checkpoint import load_checkpoint
from depth_training.config import load_config
from depth_training.data.pairs import PairsError
from depth_training.fine_tuning import find_pairs

STORE = get_typestore(Stores.ROS2_HUMBLE)
HEIGHT, WIDTH, FOCAL_PX = 240, 320, 330.0
START_S, STEP_S, FRAMES = 1_700_000_000, 5, 24  # six stretches of 20 seconds
PRESET = Path(__file__).parents[2] / "config" / "training" / "finetune.yaml"
SMALL = [
    "network.widths=[16,12,8,8]",
    "network.light_decoder=true",
    "network.head=log_depth",
    "loss.name=log_depth",
    "data.native_height=72",
    "data.native_width=96",
]
CROP = ["data.height=64", "data.width=88", "data.workers=0", "machine.accelerator=cpu"]


def header(stamp_s: int):
    make, time = STORE.types["std_msgs/msg/Header"], STORE.types["builtin_interfaces/msg/Time"]
    return make(time(stamp_s, 0), "camera_color_optical_frame")


def image(stamp_s: int, encoding: str, array: np.ndarray):
    data = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
    fields = header(stamp_s), *array.shape[:2], encoding, 0, data.shape[1], data.ravel()
    return STORE.types["sensor_msgs/msg/Image"](*fields)


def camera_info(stamp_s: int):
    k = np.array([FOCAL_PX, 0, (WIDTH - 1) / 2, 0, FOCAL_PX, (HEIGHT - 1) / 2, 0, 0, 1])
    p = np.insert(k, (3, 6, 9), 0)
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    fields = header(stamp_s), HEIGHT, WIDTH, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, roi
    return STORE.types["sensor_msgs/msg/CameraInfo"](*fields)


def frame(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A green box before a bright wall, nearer than anything in the base set, with a hole in the depth."""
    random = np.random.default_rng(number)
    rgb = np.full((HEIGHT, WIDTH, 3), 200, np.uint8) + random.integers(0, 20, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    depth_mm = np.full((HEIGHT, WIDTH), random.uniform(1100, 1300), np.uint16)
    top, left = random.integers(20, 120), random.integers(20, 180)
    rgb[top : top + 90, left : left + 110] = (40, 180, 60)
    depth_mm[top : top + 90, left : left + 110] = random.uniform(550, 650)
    depth_mm[:20, :20] = 0
    return rgb, depth_mm


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("robot") / "recording"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for number in range(FRAMES):
            stamp_s = START_S + number * STEP_S
            rgb, depth_mm = frame(number)
            for topic, message in (
                ("/camera/color/camera_info", camera_info(stamp_s)),
                ("/camera/color/image_raw", image(stamp_s, "rgb8", rgb)),
                ("/camera/aligned_depth_to_color/image_raw", image(stamp_s, "16UC1", depth_mm)),
            ):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
                data = STORE.serialize_cdr(message, message.__msgtype__)
                writer.write(connections[topic], stamp_s * 10**9, data)
    return path


def train(*arguments: str | Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["depth_training", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
    return exit_info.value.code


@pytest.fixture(scope="module")
def base(tmp_path_factory, pairs_csv, encoder_weights) -> Path:
    run = tmp_path_factory.mktemp("base") / "run"
    settings = [f"data.pairs={pairs_csv}", f"encoder_weights={encoder_weights}", "data.validation_share=0.3"]
    settings += ["optimiser.batch_size=4", "optimiser.epochs=20", "optimiser.learning_rate=0.005", "name=base"]
    assert train("--output", run, *SMALL, *CROP, *settings) == 0
    return run / "model.safetensors"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, base, recording, pairs_csv) -> Path:
    run = tmp_path_factory.mktemp("tuned") / "run"
    settings = ["--init", base, "--data", recording, "--replay", pairs_csv, "data.replay_test_share=0.3"]
    settings += ["optimiser.batch_size=4", "optimiser.epochs=20", "optimiser.learning_rate=0.02"]
    settings += ["optimiser.ema_decay=0.9", "optimiser.early_stopping=0"]
    assert train("--preset", PRESET, "--output", run, *settings, *CROP) == 0
    return run


def test_the_new_camera_is_learnt_and_the_old_rooms_are_kept(tuned):
    results = json.loads((tuned / "fine_tuning.json").read_text())
    new, old = results["held-out segments"], results["base set, held apart"]
    assert new["pairs"] == 8
    assert old["pairs"] == 4
    assert new["abs_rel_before"] > 0.5
    assert new["abs_rel_after"] < 0.4 * new["abs_rel_before"]
    assert new["delta1_after"] > new["delta1_before"]
    assert old["abs_rel_after"] < old["abs_rel_before"] + 0.05
    rows = pd.read_csv(tuned / "fine_tuning.csv")
    assert rows.groupby("set").size().to_dict() == {name: result["pairs"] for name, result in results.items()}
    assert rows.query("set == 'held-out segments'")["abs_rel_after"].mean() == pytest.approx(new["abs_rel_after"])


def test_before_and_after_are_measured_on_what_was_not_trained_on(tuned):
    rows = pd.read_csv(tuned / "fine_tuning.csv").query("set == 'held-out segments'")
    (prepared,) = (tuned / "data").glob("*/recording")
    pairs = pd.read_csv(prepared / "pairs.csv")
    scenes = pairs.set_index(pairs["image"].str.removeprefix("images/"))["scene"]
    assert scenes[rows["image_before"]].nunique() == 2, "whole stretches"
    assert scenes.isin(scenes[rows["image_before"]].unique()).sum() == len(rows), "all of them"


def test_the_network_and_the_training_camera_are_the_bases(tuned, base):
    (network, contract), (tuned_network, tuned_contract) = (
        load_checkpoint(path) for path in (base, tuned / "model.safetensors")
    )
    assert tuned_network.config == network.config
    assert tuned_contract.name == "finetuned"
    assert tuned_contract.training_fx == pytest.approx(contract.training_fx)
    assert tuned_contract.training_fy == pytest.approx(contract.training_fy)
    assert (tuned_contract.input.native_height, tuned_contract.input.native_width) == (72, 96)
    assert "recording/pairs.csv" in tuned_contract.training_data
    assert f"replayed, from {base.parent.name}/model.safetensors" in tuned_contract.training_data
    assert load_config(tuned / "config.yaml", []).init == str(base)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["network.widths=[8,8,8,8]"], "network.widths=[8, 8, 8, 8] contradicts the checkpoint"),
        (["network.head=linear"], "network.head=linear contradicts"),
        (["data.native_width=128", "data.native_height=96"], "the training camera of"),
        (["data.fx=300"], "the training camera of"),
        (["--init", "nonesuch"], "--init nonesuch is neither a bundled checkpoint (default)"),
    ],
)
def test_settings_that_contradict_the_checkpoint_are_refused_in_one_sentence(
    arguments, reason, base, pairs_csv, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "400")
    assert train("--output", tmp_path / "run", "--init", base, "--data", pairs_csv, *arguments) == 2
    printed = capsys.readouterr().out
    assert reason in printed
    assert printed.count("\n") == 1


def test_a_recording_of_too_few_stretches_is_refused(base, pairs_csv, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    table = pd.read_csv(pairs_csv)[:4]
    for column in ("image", "depth"):
        table[column] = [str(pairs_csv.parent / name) for name in table[column]]
    table.to_csv(tmp_path / "pairs.csv", index=False)
    preset = ("--preset", PRESET)
    assert train("--output", tmp_path / "run", "--init", base, "--data", tmp_path, *preset) == 2
    assert "has 2 segments" in capsys.readouterr().out


def test_what_a_recording_needs_an_option_for_is_sent_to_prepare(tmp_path):
    (tmp_path / "walk.mcap").touch()
    with pytest.raises(PairsError, match=r"options are those of `prepare .*walk\.mcap --spacing .*then give --data"):
        find_pairs(tmp_path / "walk.mcap", tmp_path)


def test_other_layouts_are_sent_to_prepare(tmp_path):
    (tmp_path / "nyu_data.zip").touch()
    with pytest.raises(PairsError, match="no recording but densedepth: turn it into pairs by `prepare`"):
        find_pairs(tmp_path / "nyu_data.zip", tmp_path)
