"""evaluate, compare, predict, export and info through the command line, in one process: what they print and leave."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from depth_training import cli
from depth_training.checkpoint import build_contract, save_checkpoint
from depth_training.config import DataConfig, NetworkConfig, TrainingConfig
from depth_training.data.pairs import read_pairs
from depth_training.judging import commands as judging_commands
from depth_training.model_files import commands as model_file_commands
from depth_training.model_files.model_card import card_path
from depth_training.network.depth_network import DepthNetwork
from depth_training.prediction import command as prediction_command

METRICS = ("abs_rel", "rmse", "rmse_relative", "log10", "delta1", "delta2", "delta3")


@pytest.fixture
def run(monkeypatch, capsys):
    """Give a command line; returns its status and what it printed."""
    for module in (cli, judging_commands, model_file_commands, prediction_command):
        monkeypatch.setattr(module.console, "width", 400)

    def command(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["depth_training", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code or 0
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return status, printed.out

    return command


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained network whose depth varies, at 96x72."""
    torch.manual_seed(0)
    network_config = NetworkConfig(widths=[16, 12, 8, 8], head="log_depth", light_decoder=True, greatest_depth_m=20.0)
    config = TrainingConfig(
        name="small", network=network_config, data=DataConfig(pairs="train.csv", native_height=72, native_width=96)
    )
    network = DepthNetwork(network_config).train()
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 64))
        network.head.conv.weight *= 3
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return save_checkpoint(network.eval(), build_contract(config, {}), path)


@pytest.fixture(scope="module")
def few_pairs(pairs_csv) -> Path:
    """The first four of the pairs."""
    path = pairs_csv.with_name("few.csv")
    path.write_text("".join(pairs_csv.read_text().splitlines(keepends=True)[:5]))
    return path


def truth_times(pairs: Path, folder: Path, factor: float, suffix: str = "png") -> Path:
    """Predictions that are the truth times a factor."""
    folder.mkdir()
    for pair in read_pairs(pairs):
        depth_mm = cv2.imread(str(pair.depth), cv2.IMREAD_UNCHANGED)
        target = folder / f"{pair.image.stem}.{suffix}"
        if suffix == "npy":
            np.save(target, (factor * depth_mm / 1000).astype(np.float32))
        else:
            cv2.imwrite(str(target), np.rint(factor * depth_mm).astype(np.uint16))
    return folder


def test_predictions_that_are_a_tenth_too_far_are_so_under_every_protocol(run, few_pairs, tmp_path):
    """Closed forms: abs_rel .1, all of it scale; delta1 1."""
    folder = truth_times(few_pairs, tmp_path / "p", 1.1)
    for protocol in ("nyu-eigen", "bts", "densedepth", "fastdepth", "whole-image"):
        for reduce in ("image", "pooled"):
            status, output = run(
                "evaluate", "--model", folder, "--pairs", few_pairs, "--protocol", protocol, "--reduce", reduce,
                "--json", tmp_path / "m.json",
            )  # fmt: skip
            assert status == 0, output
            assert f"{protocol}: " in output
            result = json.loads((tmp_path / "m.json").read_text())
            assert result["abs_rel"] == pytest.approx(0.1, abs=1e-3)
            assert result["rmse_relative"] == pytest.approx(0.1, abs=1e-3)
            assert result["log10"] == pytest.approx(np.log10(1.1), abs=1e-3)
            assert result["delta1"] == 1
            assert result["error_parts"]["scale_part"] == pytest.approx(0.1, abs=1e-3)
            assert result["images"] == 4
            assert all(entry["bias"] == pytest.approx(np.log(1.1), abs=1e-3) for entry in result["depth_bins"])


def test_a_missing_prediction_is_named_and_the_rest_judged(run, few_pairs, tmp_path):
    folder = truth_times(few_pairs, tmp_path / "p", 1.0, "npy")
    missing = next(iter(folder.iterdir()))
    missing.unlink()
    status, output = run("evaluate", "--model", folder, "--pairs", few_pairs, "--json", tmp_path / "m.json")
    assert status == 0
    assert f"no prediction for 1 images: {missing.stem}.jpg" in output
    result = json.loads((tmp_path / "m.json").read_text())
    assert (result["images"], result["missing"]) == (3, [f"{missing.stem}.jpg"])


def test_what_predict_writes_is_judged_as_the_model_is(run, model, few_pairs, tmp_path):
    """The same focal length, metres as arrays: the same figures; and the pictures beside them are passed over."""
    images = [pair.image for pair in read_pairs(few_pairs)]
    camera = ("--fx", "518.8579", "--fy", "519.4696")
    status, output = run(
        "predict", model, *images, "--output", tmp_path / "out", "--write", "colour,png,npy,ply", *camera, "--stride", 8
    )
    assert status == 0, output
    assert "depth of 4 images" in output
    stem = images[0].stem
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"{stem}_colour.png", f"{stem}_depth.png", f"{stem}_depth.npy", f"{stem}_points.ply"} <= names
    for source, name in ((model, "model"), (tmp_path / "out", "folder")):
        status, output = run(
            "evaluate", "--model", source, "--pairs", few_pairs, "--csv", tmp_path / f"{name}.csv",
            "--picture", tmp_path / f"{name}.png",
        )  # fmt: skip
        assert status == 0, output
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    rows = [pd.read_csv(tmp_path / f"{name}.csv") for name in ("model", "folder")]
    for name in METRICS:
        np.testing.assert_allclose(rows[0][name], rows[1][name], rtol=1e-5)


def test_compare_tells_a_difference_from_a_tie(run, model, few_pairs, tmp_path):
    good = truth_times(few_pairs, tmp_path / "good", 1.02)
    same = truth_times(few_pairs, tmp_path / "same", 1.02, "npy")
    status, output = run(
        "compare", good, same, model, "--pairs", few_pairs, "--json", tmp_path / "c.json", "--csv", tmp_path / "c.csv",
        "--picture", tmp_path / "c.png",
    )  # fmt: skip
    assert status == 0, output
    differences = json.loads((tmp_path / "c.json").read_text())["differences"]
    verdicts = {(d["a"], d["b"]): d["verdict"] for d in differences if d["metric"] == "abs_rel"}
    assert verdicts[(str(good), str(model))] == str(good)
    assert verdicts[(str(good), str(same))] in ("tie", "not told apart", str(good), str(same))
    value = next(d["value"] for d in differences if (d["a"], d["b"], d["metric"]) == (str(good), str(same), "abs_rel"))
    assert abs(value) < 1e-3
    table = pd.read_csv(tmp_path / "c.csv")
    assert len(table) == 4
    assert (table["disagreement"] > 0).all()
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_predict_passes_over_what_it_cannot_read(run, model, few_pairs, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "broken.jpg").write_bytes(b"no image")
    cv2.imwrite(str(folder / "panorama.png"), np.zeros((50, 1000, 3), np.uint8))
    image = read_pairs(few_pairs)[0].image
    (folder / "whole.jpg").write_bytes(image.read_bytes())
    status, output = run("predict", model, folder, "--output", tmp_path / "out")
    assert status == 0
    assert f"left out {folder / 'broken.jpg'}" in output
    assert f"left out {folder / 'panorama.png'}" in output
    assert "depth of 1 images, 2 files left out" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole_colour.png"]


def test_the_colours_of_a_model_for_wide_lenses_end_where_rooms_do(run, model, few_pairs, tmp_path):
    image = read_pairs(few_pairs)[0].image
    pictures = []
    for number, scale in enumerate(([], ["--max-depth", 10], ["--max-depth", 20])):
        assert run("predict", model, image, "--output", tmp_path / str(number), *scale)[0] == 0
        pictures.append((tmp_path / str(number) / f"{image.stem}_colour.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_a_video_becomes_a_video_beside_its_depth(run, model, tmp_path):
    path = tmp_path / "walk.mp4"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (96, 72))
    if not film.isOpened():
        pytest.skip("this OpenCV writes no mp4")
    for number in range(6):
        film.write(np.full((72, 96, 3), 40 * number, np.uint8))
    film.release()
    status, output = run(
        "predict", model, path, "--output", tmp_path / "out", "--write", "colour,npy", "--every", 2, "--hfov", 60
    )
    assert status == 0, output
    capture = cv2.VideoCapture(str(tmp_path / "out" / "walk_depth.mp4"))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == 3
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) > 2 * 96
    names = sorted(file.name for file in (tmp_path / "out" / "walk").iterdir())
    assert names == ["000000_depth.npy", "000002_depth.npy", "000004_depth.npy"]


def test_export_prints_the_parity_and_writes_a_card_and_info_reads_it(run, model, few_pairs, tmp_path):
    status, output = run("evaluate", "--model", model, "--pairs", few_pairs, "--json", tmp_path / "m.json")
    assert status == 0, output
    target = tmp_path / "small.onnx"
    status, output = run("export", model, target, "--metrics", tmp_path / "m.json")
    assert status == 0, output
    assert "greatest relative difference" in output
    assert "allowed 2 %" in output
    status, output = run("export", model, target, "--no-card")
    assert "small.md is of an earlier export" in output
    status, output = run("export", model, target, "--metrics", tmp_path / "m.json")
    assert card_path(tmp_path / "small.pt2") == tmp_path / "small.pt2.md"  # beside that of small.onnx
    card = (tmp_path / "small.md").read_text()
    assert "Protocol: nyu-eigen" in card
    assert "not recorded" not in card
    status, output = run("info", target)
    assert status == 0
    for text in ("GMAC", "sha256", "CPUExecutionProvider", "nyu-eigen", "abs_rel", "small"):
        assert text in output
    status, output = run("info", target, "--json")
    assert json.loads(output)["native size"] == "96x72"


def test_what_a_user_can_mend_is_one_sentence_and_status_2(run, model, few_pairs, tmp_path):
    folder = truth_times(few_pairs, tmp_path / "p", 1.0)
    millimetres = truth_times(few_pairs, tmp_path / "mm", 1000.0, "npy")
    eight_bit = tmp_path / "eight"
    eight_bit.mkdir()
    for pair in read_pairs(few_pairs):
        cv2.imwrite(str(eight_bit / f"{pair.image.stem}.png"), np.full((480, 640), 9, np.uint8))
    small = tmp_path / "small"
    small.mkdir()
    cv2.imwrite(str(small / "a.png"), np.zeros((24, 32, 3), np.uint8))
    cv2.imwrite(str(small / "d.png"), np.full((24, 32), 2000, np.uint16))
    (small / "pairs.csv").write_text("image,depth\na.png,d.png\n")
    (small / "no_depth.csv").write_text("image\na.png\n")
    (small / "empty.csv").write_text("image,depth\n")
    (tmp_path / "metrics.json").write_text("{}")
    pairs = ("--pairs", few_pairs)
    cases = [
        (("evaluate", *pairs, "--protocol", "eigen"), "unknown protocol 'eigen'"),
        (("evaluate", *pairs, "--reduce", "median"), "image or pooled"),
        (("evaluate", *pairs, "--model", folder, "--unit", "inch"), "--unit inch"),
        (("evaluate", *pairs, "--model", folder, "--unit", "cm"), "--unit mm"),
        (("evaluate", *pairs, "--model", millimetres), "stored in mm"),
        (("evaluate", *pairs, "--model", eight_bit), "uint8 where 16 bits"),
        (("evaluate", *pairs, "--model", tmp_path / "none"), "does not exist"),
        (("evaluate", "--pairs", small / "pairs.csv", "--model", model), "--protocol whole-image"),
        (("evaluate", "--pairs", small / "no_depth.csv"), "lacks the column depth"),
        (("evaluate", "--pairs", small / "empty.csv"), "lists no pairs"),
        (("compare", folder, *pairs), "two or more"),
        (("compare", folder, folder, *pairs), "named twice"),
        (("predict", model, small, "--output", tmp_path / "o", "--write", "exr"), "colour,png,npy,ply"),
        (("predict", model, small, "--output", tmp_path / "o", "--write", "ply"), "--hfov"),
        (("predict", model, tmp_path / "none.jpg", "--output", tmp_path / "o"), "does not exist"),
        (("export", model, tmp_path / "a.onnx", "--metrics", tmp_path / "metrics.json"), "has no protocol"),
        (("info", tmp_path), "holds no config.yaml"),
        (("info", "nonesuch"), "nonesuch"),
    ]
    for arguments, reason in cases:
        status, output = run(*arguments)
        assert (status, reason in output) == (2, True), (arguments, output)
    assert not (tmp_path / "a.onnx").exists()


def test_pairs_of_any_size_are_judged_whole(run, model, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((120, 200, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "d.png"), np.full((120, 200), 2000, np.uint16))
    (tmp_path / "pairs.csv").write_text("image,depth,fx\na.png,d.png,180\n")
    status, output = run("evaluate", "--pairs", tmp_path / "pairs.csv", "--model", model, "--protocol", "whole-image")
    assert status == 0, output
    assert "whole-image: native size" in output
