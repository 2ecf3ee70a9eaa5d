"""The paper's experiments: what is run, how it resumes, how sure a row is, and what the tables say."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from filelock import FileLock  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_training.checkpoint import RunError  # noqa: E402
from depth_training.config import (  # noqa: E402
    ConfigError,
    DataConfig,
    LossConfig,
    OptimiserConfig,
    TrainingConfig,
    save_config,
)
from depth_training.data.pairs import PairsError, read_pairs  # noqa: E402
from depth_training.data.splits import consecutive_blocks  # noqa: E402
from depth_training.losses import PaperLoss  # noqa: E402
from depth_training.reproduction import paper, tables  # noqa: E402
from depth_training.reproduction.command import parse_encoder_weights  # noqa: E402
from depth_training.reproduction.efficiency import multiply_adds, time_in_turn  # noqa: E402
from depth_training.reproduction.experiments import (  # noqa: E402
    MOBILENET,
    PRESETS,
    SQUEEZENET,
    list_experiments,
    training_config,
)
from depth_training.reproduction.figures import choose_rows  # noqa: E402
from depth_training.reproduction.judge import loss_in, read_curve, trained_on  # noqa: E402
from depth_training.reproduction.results import RunResult, read_results, score  # noqa: E402
from depth_training.reproduction.run import only_one, run_experiments, run_folder  # noqa: E402
from depth_training.reproduction.split_files import PARTS, read_relocatable, split_table, write_splits  # noqa: E402
from depth_training.reproduction.statistics import (  # noqa: E402
    Score,
    difference,
    has_plateaued,
    is_tie,
    standard_error,
)
from depth_training.reproduction.table_sections import (  # noqa: E402
    leak_section,
    rotation_section,
    rotation_spec,
    table1_spec,
    table2_section,
    table2_spec,
)

CPU = PRESETS["cpu"]
PAPER_TEXT = Path(__file__).resolve().parents[3] / "shared" / "paper.txt"
METRICS = (*paper.METRICS, "loss_m", "loss_cm")


# What is run


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_rows_of_a_table_differ_in_nothing_but_what_the_paper_varies(preset):
    configs = {
        experiment.row: dataclasses.asdict(training_config(experiment, preset, Path("s"), {}))
        for experiment in list_experiments(preset, seeds=1)
        if experiment.table != "table1"
    }
    base = configs["none"]
    varied = {"normalization": {"normalise"}, "grayscale": {"grayscale"}, "rotation": {"normalise", "rotation_deg"}}
    for row, expected in varied.items():
        changed = {
            key for part in ("network", "data", "loss", "optimiser") for key in base[part]
            if base[part][key] != configs[row][part][key]
        }  # fmt: skip
        assert changed == expected, row
    assert configs["grayscale"]["data"]["grayscale"] == 0.5


def test_the_paper_preset_is_the_papers_run_as_far_as_it_says():
    experiment = list_experiments(PRESETS["paper"])[0]
    config = training_config(experiment, PRESETS["paper"], Path("s"), {})
    assert (config.data.native_height, config.data.native_width) == (480, 640)
    assert config.optimiser.epochs == 7
    assert (config.optimiser.learning_rate, config.optimiser.weight_decay) == (1e-3, 0)  # Adam's defaults
    assert config.network.freeze_encoder
    assert (config.data.flip, config.data.channel_swap) == (0.5, 0.5)


def test_names_are_unique_and_every_row_has_its_first_seed_before_any_second():
    experiments = list_experiments(CPU)
    assert len({experiment.name for experiment in experiments}) == len(experiments)
    seeds = [experiment.seed for experiment in experiments]
    assert seeds == sorted(seeds)
    kinds = {(e.row, e.split) for e in experiments if e.table == "table1"}
    assert kinds == {(row, split) for row in (MOBILENET, SQUEEZENET) for split in ("frames", "blocks")}


def test_what_an_experiment_sets_cannot_be_overridden():
    with pytest.raises(ConfigError, match=r"data\.grayscale=1.*leave it out"):
        training_config(list_experiments(CPU)[0], CPU, Path("s"), {}, ["data.grayscale=1"])


def test_encoder_weights_are_named_by_encoder(tmp_path):
    file = tmp_path / "w=1.safetensors"
    file.touch()
    assert parse_encoder_weights([f"mobilenet_v2={file}"], [MOBILENET]) == {MOBILENET: str(file)}
    for wrong in (str(file), f"resnet={file}", "mobilenet_v2=none.safetensors"):
        with pytest.raises(ConfigError, match="--encoder-weights"):
            parse_encoder_weights([wrong], [MOBILENET])


# Split files

WANTED = [("frames", False), ("blocks", False), ("frames", True)]


def write_csv(path: Path, indices, name: str = "image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"d/{name}{index}.jpg,d/{name}{index}.png,{index}" for index in indices]
    path.write_text("image,depth,nyu_index\n" + "\n".join(lines) + "\n")
    return path


def test_the_three_files_hold_every_pair_once_in_the_papers_shares(tmp_path):
    pairs = write_csv(tmp_path / "data" / "train.csv", range(0, 400, 2))
    test = write_csv(tmp_path / "data" / "test.csv", range(5), "test")
    counts = write_splits(pairs, test, tmp_path / "out", 100, WANTED)
    assert counts == {"all": 200, "subset": 100, "heldout": 5}
    for folder, total in (("frames", 200), ("frames_subset", 100)):
        parts = {part: read_pairs(tmp_path / "out" / "splits" / folder / f"{part}.csv") for part in PARTS}
        assert [len(parts[part]) for part in PARTS] == [total * share // 100 for share in paper.SPLIT_SHARES]
        found = [(pair.image.resolve(), pair.index) for part in parts.values() for pair in part]
        assert len(set(found)) == total
        every = {(pair.image.resolve(), pair.index) for pair in read_pairs(pairs)}
        assert set(found) <= every


@given(st.sets(st.integers(0, 300), min_size=60), st.integers(0, 3))
def test_blocks_put_no_neighbours_in_two_parts(indices, seed):
    ordered = sorted(indices)
    table = pd.DataFrame(
        {"image": [f"{i}.jpg" for i in ordered], "depth": "d.png", "index": ordered, "scene": ""}
    ).sample(frac=1, random_state=seed).reset_index(drop=True)  # fmt: skip
    try:
        parts = split_table(table, "blocks", seed)
    except PairsError:
        runs = np.split(np.array(ordered), np.flatnonzero(np.diff(ordered) > 1) + 1)
        assert len(runs) < 60  # few and large blocks may leave a part empty
        return
    part_of = {index: part for part, rows in parts.items() for index in rows["index"]}
    assert set(part_of) == indices
    assert all(part_of[index] == part_of[index + 1] for index in indices if index + 1 in indices)


def test_blocks_of_nyus_gaps_are_those_of_the_training_split(tmp_path):
    indices = [index for index in range(300) if index % 7]
    csv = write_csv(tmp_path / "train.csv", indices)
    parts = split_table(read_relocatable(csv), "blocks")
    names = {part: set(rows["image"]) for part, rows in parts.items()}
    for block in consecutive_blocks(read_pairs(csv)):
        images = {str(pair.image.resolve()) for pair in block}
        assert sum(bool(images & part) for part in names.values()) == 1


def test_other_data_in_a_begun_folder_and_a_test_that_was_trained_on_are_refused(tmp_path):
    pairs, test = write_csv(tmp_path / "a.csv", range(0, 400, 2)), write_csv(tmp_path / "t.csv", range(5), "test")
    write_splits(pairs, test, tmp_path / "out", 100, WANTED)
    write_splits(pairs, test, tmp_path / "out", 100, WANTED)
    write_csv(pairs, range(1, 401, 2))
    with pytest.raises(RunError, match="other data; give another --output"):
        write_splits(pairs, test, tmp_path / "out", 100, WANTED)
    with pytest.raises(PairsError, match="200 images are in"):
        write_splits(pairs, pairs, tmp_path / "other", 100, WANTED)


def test_pairs_that_tell_no_rooms_apart_can_be_split_by_frames_alone(tmp_path):
    pairs, test = write_csv(tmp_path / "a.csv", range(200)), write_csv(tmp_path / "t.csv", range(5), "test")
    with pytest.raises(PairsError, match=r"blocks split of 200 pairs.*column index or scene"):
        write_splits(pairs, test, tmp_path / "out", 100, WANTED)
    write_splits(pairs, test, tmp_path / "out", 100, [("frames", False)])


# The loop


class FakeRuns:
    """Stands in for training and judging; may be stopped or refuse."""

    def __init__(self):
        self.trained, self.judged, self.stop_at = [], [], None

    def train(self, config, run, resume):
        assert resume
        self.trained.append((config.name, (run / "last.ckpt").exists()))
        run.mkdir(parents=True, exist_ok=True)
        save_config(config, run / "config.yaml")
        (run / "last.ckpt").touch()
        if config.name == self.stop_at:
            raise KeyboardInterrupt
        (run / "model.safetensors").touch()
        return run / "model.safetensors"

    def judge(self, experiment, config, run):
        assert (run / "model.safetensors").exists()
        self.judged.append(experiment.name)
        return {"heldout": {"abs_rel": 0.5}}

    def go(self, output, overrides=()):
        experiments = list_experiments(CPU, seeds=1)[:3]
        configs = [training_config(experiment, CPU, output / "s", {}, overrides) for experiment in experiments]
        return run_experiments(experiments, configs, output, self.train, self.judge)


NAMES = [experiment.name for experiment in list_experiments(CPU, seeds=1)[:3]]


def test_a_stopped_reproduction_goes_on_where_it_was_and_repeats_nothing(tmp_path):
    fake = FakeRuns()
    fake.stop_at = NAMES[1]
    with pytest.raises(KeyboardInterrupt):
        fake.go(tmp_path)
    fake.stop_at = None
    assert fake.go(tmp_path) == NAMES[1:]
    assert fake.trained == [(NAMES[0], False), (NAMES[1], False), (NAMES[1], True), (NAMES[2], False)]
    assert fake.judged == NAMES
    assert fake.go(tmp_path) == []
    assert len(fake.trained) == 4
    result = json.loads((tmp_path / "runs" / NAMES[2] / "result.json").read_text())
    assert result["heldout"] == {"abs_rel": 0.5}
    assert result["experiment"]["seed"] == 0
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_run_stopped_while_judged_is_not_trained_again(tmp_path):
    fake = FakeRuns()
    fake.go(tmp_path)
    (tmp_path / "runs" / NAMES[0] / "result.json").unlink()
    assert fake.go(tmp_path) == NAMES[:1]
    assert len(fake.trained) == 3


def test_changed_settings_are_refused_before_anything_is_trained(tmp_path):
    fake = FakeRuns()
    fake.go(tmp_path)
    (tmp_path / "runs" / NAMES[1] / "result.json").unlink()
    with pytest.raises(RunError, match=r"was finished with other settings \(optimiser.epochs was 10, now 11\).*remove"):
        fake.go(tmp_path, ["optimiser.epochs=11"])
    assert len(fake.trained) == 3
    assert fake.go(tmp_path, ["data.workers=3"]) == NAMES[1:2]  # no part of what was run


def test_settings_of_a_run_without_any_checkpoint_may_change(tmp_path):
    run = tmp_path / "runs" / NAMES[0]
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("")
    assert FakeRuns().go(tmp_path) == NAMES


def test_a_second_process_in_the_folder_is_refused(tmp_path):
    other = FileLock(tmp_path / ".lock")
    other.acquire()
    try:
        with pytest.raises(RunError, match="another `reproduce` is at work"), only_one(tmp_path):
            pass
    finally:
        other.release()
    with only_one(tmp_path):
        pass


# How sure a row is


def test_standard_errors_have_their_closed_forms():
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)  # sqrt(2) / sqrt(2)
    assert math.isnan(standard_error([1.0]))
    values = np.random.default_rng(0).normal(size=(4, 50))
    given_score = Score(values)
    assert given_score.mean == pytest.approx(values.mean())
    seed_error = pd.Series(values.mean(axis=1)).sem()
    image_error = pd.Series(values.mean(axis=0)).sem()
    assert given_score.seed_error == pytest.approx(seed_error)
    assert given_score.image_error == pytest.approx(image_error)
    assert given_score.error == pytest.approx(math.hypot(seed_error, image_error))


def test_an_image_without_a_known_pixel_does_not_count():
    values = np.array([[1.0, 2.0, np.nan], [3.0, 4.0, np.nan]])
    whole = values[:, :2]
    assert Score(values).mean == Score(whole).mean == 2.5
    assert Score(values).error == Score(whole).error
    assert difference(Score(values), Score(values[::-1])) == difference(Score(whole), Score(whole[::-1]))


def test_a_tie_is_judged_image_by_image():
    """Images differ much, the rows by the same little on each: no tie, though each row's own error is large."""
    images = np.linspace(0, 10, 40)
    jitter = np.where(np.arange(40) % 2, 0.01, -0.01)
    a, b = Score(images[None]), Score(images[None] + 0.02 + jitter)
    assert a.error > 0.4
    assert not is_tie(a, b)
    # The closed form of the paired error: jitter's deviation over sqrt(n).
    assert difference(a, b)[1] == pytest.approx(0.01 * math.sqrt(40 / 39) / math.sqrt(40))
    assert is_tie(a, Score(images[None] + 50 * jitter + 0.05))


@given(st.floats(0, 3), st.floats(0.1, 2))
def test_a_tie_is_a_difference_within_one_error(apart, spread):
    a = Score(np.tile([[-spread], [spread]], (1, 5)))
    b = Score(a.values + apart)
    # Seeds at -s and +s: sem = s each, so sqrt(2) s together; the images all agree.
    assert is_tie(a, b) == (apart <= math.sqrt(2) * spread) or math.isclose(apart, math.sqrt(2) * spread)


def test_rows_on_other_images_cannot_be_compared():
    with pytest.raises(ValueError, match="3 and 4 images"):
        difference(Score(np.zeros((1, 3))), Score(np.zeros((1, 4))))


def test_a_curve_has_plateaued_when_its_last_quarter_falls_less_than_one_percent():
    assert has_plateaued([8, 7, 6, 5, 4, 3, 2, 1]) is False
    assert has_plateaued([8, 4, 2, 1, 1, 1, 1, 1]) is True
    assert has_plateaued([1, 1, 1, 1, 1, 1, 1.5, 1.5]) is True
    assert has_plateaued([1, 1, 1, 0.995]) is True
    assert has_plateaued([1, 1, 1, 0.985]) is False
    assert has_plateaued([1, 1, 1]) is None


# The loss and the curves


def test_the_loss_in_centimetres_is_that_of_depth_in_centimetres():
    torch.manual_seed(0)
    truth_m, error_m = torch.rand(1, 1, 40, 50) * 5 + 1, torch.randn(1, 1, 40, 50) * 0.3
    terms_m = {k: v.item() for k, v in PaperLoss(LossConfig())(truth_m + error_m, truth_m).items()}
    in_cm = PaperLoss(LossConfig(), data_range_m=1000.0)(100 * (truth_m + error_m), 100 * truth_m)["loss"].item()
    assert loss_in(terms_m, 0.1) == pytest.approx(terms_m["loss"], rel=1e-6)
    assert loss_in(terms_m, 0.1, 100) == pytest.approx(in_cm, rel=1e-4)


def test_a_curve_spans_every_start_and_a_repeated_epoch_counts_once(tmp_path):
    header = "epoch,step,train/depth_l1,train/gradient,train/loss,train/ssim,val/abs_rel\n"
    for version, text in (
        (2, "0,9,1.0,0.2,0.6,0.3,\n0,9,,,,,0.5\n1,19,9.0,9.0,9.0,9.0,\n"),
        (10, "1,19,0.5,0.1,0.25,0.1,\n1,19,,,,,0.4\n"),
    ):
        folder = tmp_path / "logs" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(header + text)
    curve = read_curve(tmp_path)
    assert curve["epoch"].tolist() == [1, 2]
    assert curve["loss_m"].tolist() == [0.6, 0.25]
    assert curve["val_abs_rel"].tolist() == [0.5, 0.4]
    # lambda 0.1: 100 * (0.1 * L1 + gradient) + ssim
    assert curve["loss_cm"].tolist() == pytest.approx([100 * (0.1 + 0.2) + 0.3, 100 * (0.05 + 0.1) + 0.1])


def test_epochs_count_though_a_stop_cut_the_head_off_their_log(tmp_path):
    """As an interrupt left it that came while the logger wrote the file again with more columns."""
    header = "epoch,step,train/depth_l1,train/gradient,train/loss,train/ssim,val/abs_rel\n"
    for version, text in (
        (0, "0,1,1.4,0.1,0.45,0.2,\n"),
        (1, f"{header}1,3,1.3,0.1,0.4,0.2,\n2,5,1.2,0.1,0.3,0.2,0.4\n"),
    ):
        folder = tmp_path / "logs" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(text)
    pairs = tmp_path / "train.csv"
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).touch()
    pairs.write_text("image,depth,nyu_index\n" + "".join(f"a.jpg,b.png,{i}\n" for i in range(7)))
    config = TrainingConfig(data=DataConfig(pairs=str(pairs)), optimiser=OptimiserConfig(batch_size=2))
    assert trained_on(tmp_path, config) == {"training_images": 7, "epochs": 3, "samples_seen": 18}


# What the tables say


def fake_result(tmp_path, experiment, values: dict[str, float], images: int = 6) -> RunResult:
    spread = np.linspace(-0.01, 0.01, images)
    rows = pd.DataFrame({"image": [f"{i}.jpg" for i in range(images)]})
    for metric in METRICS:
        rows[metric] = values.get(metric, 0.5) + spread + 0.001 * experiment.seed
    parts = {part: rows for part in ("heldout", "test", "validation")}
    return RunResult(experiment, run_folder(tmp_path, experiment), {}, parts, pd.DataFrame())


def results_for(tmp_path, table: str, values: dict[str, dict[str, float]]) -> list[RunResult]:
    experiments = [e for e in list_experiments(CPU, 2) if e.table == table and e.split == "frames"]
    return [fake_result(tmp_path, experiment, values[experiment.row]) for experiment in experiments]


def test_table_1_stands_beside_the_papers_numbers(tmp_path):
    results = results_for(tmp_path, "table1", {MOBILENET: {"abs_rel": 0.2}, SQUEEZENET: {"abs_rel": 0.3}})
    spec = table1_spec("frames", "heldout")
    long = tables.long_table(results, spec).set_index(["row", "metric"])
    assert long.loc[(MOBILENET, "abs_rel"), "value"] == pytest.approx(0.2005)
    assert long.loc[(MOBILENET, "abs_rel"), "paper"] == 0.228
    assert long.loc[(SQUEEZENET, "delta3"), "paper"] == 0.867
    spread = pd.Series(np.linspace(-0.01, 0.01, 6)).sem()
    assert long.loc[(SQUEEZENET, "abs_rel"), "standard_error"] == pytest.approx(math.hypot(spread, 0.0005))
    text = tables.markdown(tables.shown_table(results, spec))
    assert "| paper, MobileNetV2 |  |  | 0.228 | 0.337 | 0.088 | 0.661 | 0.891 | 0.968 |" in text
    assert re.search(r"here, SqueezeNet \| 2 \| 6 \| 0\.300 ± 0\.003 ", text)


def test_orders_are_the_papers_ties_or_the_other_way_round(tmp_path):
    """Higher is better for delta, lower for the others; equal values are a tie."""
    better = {"abs_rel": 0.2, "delta1": 0.4, "log10": 0.9}
    results = results_for(tmp_path, "table1", {MOBILENET: better, SQUEEZENET: {"abs_rel": 0.4, "delta1": 0.6}})
    orders = {order.metric: order for order in tables.compare_orders(results, table1_spec("frames", "heldout"))}
    verdicts = {metric: order.verdict for metric, order in orders.items()}
    assert verdicts == {
        "abs_rel": "as in the paper",
        "delta1": "other way round",
        "log10": "other way round",
        "rmse_relative": "tie",
        "delta2": "tie",
        "delta3": "tie",
    }
    assert (orders["abs_rel"].better, orders["abs_rel"].worse) == (MOBILENET, SQUEEZENET)
    (sentence,) = tables.order_sentences(list(orders.values()))
    assert sentence.startswith("MobileNetV2 better than SqueezeNet in the paper. Here as in the paper: Rel; tie: ")
    assert "other way round: log10, δ1." in sentence


def test_a_single_image_of_a_single_seed_decides_nothing(tmp_path):
    results = [
        fake_result(tmp_path, experiment, {"abs_rel": value}, images=1)
        for experiment, value in zip(list_experiments(CPU, 1)[:2], (0.1, 0.9), strict=True)
    ]
    orders = tables.compare_orders(results, table1_spec("frames", "test"))
    assert {order.verdict for order in orders} == {"undecided"}


def test_table_2_has_the_loss_in_both_units(tmp_path):
    rows = {row: {"loss_m": 0.3, "loss_cm": 20.0} for row in paper.TABLE2}
    table = tables.shown_table(results_for(tmp_path, "table2", rows), table2_spec("heldout")).set_index("")
    assert table.loc["paper, None", "Loss, cm"] == "47.1"
    assert table.loc["paper, None", "Loss, m"] == ""
    assert table.loc["here, Grayscale", "Loss, cm"].startswith("20.0")
    assert table.loc["here, Grayscale", "Loss, m"].startswith("0.300")


def test_the_claim_about_rotation_is_judged_by_the_same_rule(tmp_path):
    values = {row: {"abs_rel": 0.3, "delta1": 0.5, "log10": 0.1} for row in paper.TABLE2}
    results = results_for(tmp_path, "table2", values)
    assert rotation_section(tmp_path, results) == ""  # nothing to compare with yet
    results += results_for(tmp_path, "rotation", {"rotation": {"abs_rel": 0.4, "delta1": 0.6, "log10": 0.1}})
    text = rotation_section(tmp_path, results)
    assert "Rel: worse;" in text
    assert "log10: tie;" in text
    assert "δ1: better;" in text
    written = pd.read_csv(tmp_path / "rotation.csv")
    assert set(written["row"]) == {"normalization", "rotation"}
    assert written["paper"].isna().all()


def test_table_2_names_the_rows_whose_order_is_not_the_papers(tmp_path):
    """Every metric as printed but the loss, whose order is turned round."""
    values = {row: {**printed, "loss_cm": -printed["loss_cm"]} for row, printed in paper.TABLE2.items()}
    text = table2_section(tmp_path, results_for(tmp_path, "table2", values))
    line = next(line for line in text.splitlines() if line.startswith("- Normalization better than None"))
    assert line.endswith("other way round: Loss, cm.")
    # Grayscale's delta1 falls in the paper, so there None is the better one of the two.
    assert "- None better than Grayscale in the paper. Here as in the paper: δ1." in text


def test_the_splits_stand_side_by_side(tmp_path):
    experiments = [e for e in list_experiments(CPU, 1) if e.table == "table1" and e.row == MOBILENET]
    results = [fake_result(tmp_path, e, {"abs_rel": 0.2 if e.split == "frames" else 0.3}) for e in experiments]
    lines = leak_section(results).splitlines()
    assert sum("| 0.200 ± 0.003 |" in line and line.startswith("| shuffled frames") for line in lines) == 1
    assert sum("| 0.300 ± 0.003 |" in line and line.startswith("| rooms kept whole") for line in lines) == 1


def test_rows_that_were_not_run_are_left_out(tmp_path):
    results = results_for(tmp_path, "table1", {MOBILENET: {}, SQUEEZENET: {}})
    only_one_row = [result for result in results if result.experiment.row == MOBILENET]
    spec = table1_spec("frames", "heldout")
    assert tables.shown_table(only_one_row, spec)[""].tolist()[2:] == ["here, MobileNetV2"]
    assert tables.compare_orders(only_one_row, spec) == []
    assert tables.row_scores(results, rotation_spec("heldout")) == {}


def test_seeds_judged_on_other_images_are_refused(tmp_path):
    results = results_for(tmp_path, "table1", {MOBILENET: {}, SQUEEZENET: {}})[::2]
    other = results[1].rows["heldout"].assign(image="x.jpg")
    changed = dataclasses.replace(results[1], rows={**results[1].rows, "heldout": other})
    with pytest.raises(RunError, match="other images than that of the first seed"):
        score([results[0], changed], "heldout", "abs_rel")


def test_results_are_read_back_from_their_folders(tmp_path):
    experiments = list_experiments(CPU, 1)[:2]
    run = run_folder(tmp_path, experiments[0])
    (run / "logs" / "version_0").mkdir(parents=True)
    (run / "logs" / "version_0" / "metrics.csv").write_text(
        "epoch,train/depth_l1,train/gradient,train/loss,train/ssim\n0,1,0,1,0\n"
    )
    (run / "result.json").write_text('{"epochs": 1}')
    for part in ("heldout", "test", "validation"):
        (run / f"{part}.csv").write_text("image,abs_rel\na.jpg,0.25\n")
    (result,) = read_results(tmp_path, experiments)
    assert result.experiment == experiments[0]
    assert score([result], "test", "abs_rel").mean == 0.25
    assert np.isnan(result.curve["val_abs_rel"]).all()


def test_figure_2_shows_best_median_worst_and_what_was_asked_for():
    names, values = ["a", "b", "c", "d", "e"], [0.3, 0.1, math.nan, 0.9, 0.2]
    assert choose_rows(names, values, ["a"]) == [("best", 1), ("median", 0), ("worst", 3), ("chosen", 0)]
    with pytest.raises(PairsError, match="z is no image of the test"):
        choose_rows(names, values, ["z"])


def test_multiply_adds_of_a_convolution_have_their_closed_form():
    layer = torch.nn.Conv2d(3, 8, kernel_size=3, padding=1)
    assert multiply_adds(layer, 10, 12) == 10 * 12 * 8 * 3 * 9


def test_calls_are_timed_in_turn():
    calls = []
    medians_ms = time_in_turn([lambda: calls.append("a"), lambda: calls.append("b")], rounds=3)
    assert calls == ["a", "b"] * 4
    assert len(medians_ms) == 2


@pytest.mark.skipif(not PAPER_TEXT.is_file(), reason="the paper's text is not beside the repository")
def test_the_papers_numbers_are_as_printed():
    text = PAPER_TEXT.read_text()
    printed = {
        (MOBILENET, 0): r"Mobile net v2\t0.228", (MOBILENET, 3): r"Mobile net v2\t0.661",
        (SQUEEZENET, 0): r"Squeeze net\t0.412", (SQUEEZENET, 3): r"Squeeze net\t0.405",
    }  # fmt: skip
    for (row, start), pattern in printed.items():
        line = next(line for line in text.splitlines() if re.match(pattern, line))
        values = [float(cell) for cell in line.split("\t")[1:]]
        assert list(paper.TABLE1[row].values())[start : start + 3] == values
    for row, head in (("normalization", "Normalization"), ("grayscale", "Grayscale"), ("none", "None")):
        cells = [cell for line in text.splitlines() if line.startswith(f"{head}\t") for cell in line.split("\t")[1:]]
        values = [float(cell) for cell in cells if cell]
        assert [paper.TABLE2[row][metric] for metric in (*paper.METRICS, paper.LOSS)] == values


def test_what_is_called_a_contradiction_is_one():
    """Each figure of the list against the tables themselves."""
    assert len(paper.TABLE1) == 2  # "three pairs"
    assert paper.TABLE2["grayscale"]["delta1"] < paper.TABLE2["none"]["delta1"]
    assert all(paper.TABLE2["grayscale"][f"delta{i}"] > paper.TABLE2["none"][f"delta{i}"] for i in (2, 3))
    assert paper.TABLE1[MOBILENET]["delta1"] > 1.5 * paper.TABLE1[SQUEEZENET]["delta1"]  # "slightly higher"
