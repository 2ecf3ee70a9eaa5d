"""What the settings promise is done: clipping, averaged weights, precision, early stopping, and what is logged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from depth_training import callbacks, training
from depth_training.config import load_config

TINY = Path(__file__).with_name("tiny.yaml")
SMALL = [
    "data.workers=0",
    "optimiser.batch_size=2",
    "machine.accelerator=cpu",
]


@pytest.fixture
def train(tmp_path, pairs_csv, encoder_weights):
    def run(*settings: str, resume: bool = False) -> Path:
        fixed = [f"data.pairs={pairs_csv}", f"encoder_weights={encoder_weights}"]
        training.train(load_config(TINY, [*SMALL, *fixed, *settings]), tmp_path / "run", resume)
        return tmp_path / "run"

    return run


def test_gradients_are_clipped_and_the_averaged_weights_are_kept(train, monkeypatch):
    """Oracles: the norm of what the optimiser sees, and the average of its weights taken here."""
    norms, average, decay = [], {}, 0.5
    configure = training.DepthModule.configure_optimizers

    def watched(self):
        optimiser = configure(self)

        def after(*_):
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm().item())
            for name, weight in self.network.named_parameters():
                past = average.get(name, weight.detach())
                average[name] = decay * past + (1 - decay) * weight.detach()

        optimiser.register_step_post_hook(after)
        return optimiser

    monkeypatch.setattr(training.DepthModule, "configure_optimizers", watched)
    # Nothing is held apart: the last epoch is kept.
    run = train("data.validation_share=0", "optimiser.epochs=2", "optimiser.clip_norm=0.01", "optimiser.ema_decay=0.5")
    assert len(norms) == 12
    assert norms == pytest.approx([0.01] * 12, rel=1e-3)
    kept = load_file(run / "model.safetensors")
    for name, expected in average.items():
        torch.testing.assert_close(kept[name], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_a_run_moves_no_statistics_of_the_encoder(train, encoder_weights, frozen):
    run = train("optimiser.epochs=1", f"network.freeze_encoder={frozen}")
    before, after = load_file(encoder_weights), load_file(run / "model.safetensors")
    statistics = [name for name in before if name.startswith("features") and "running" in name]
    assert len(statistics) == 104
    for name in statistics:
        assert torch.equal(after[f"encoder.{name}"], before[name]), name
    moved = not torch.equal(after["encoder.features.18.0.weight"], before["features.18.0.weight"])
    assert moved == (frozen == "false")


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_mixed_precision_computes_in_half_and_keeps_whole_weights(train, monkeypatch, precision, dtype):
    seen = set()
    predict = training.DepthModule._predict

    def watched(self, image):
        handle = self.network.decoder.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
        try:
            return predict(self, image)
        finally:
            handle.remove()

    monkeypatch.setattr(training.DepthModule, "_predict", watched)
    monkeypatch.setattr(training, "validate", lambda module, loader: {})  # it judges in whole precision
    run = train("optimiser.epochs=1", f"optimiser.precision={precision}")
    assert seen == {dtype}
    assert {weight.dtype for weight in load_file(run / "model.safetensors").values()} <= {torch.float32, torch.int64}


def epochs_of(run: Path) -> list[int]:
    logs = sorted(run.glob("logs/version_*/metrics.csv"))
    return pd.concat(pd.read_csv(log) for log in logs).dropna(subset=["val/abs_rel"])["epoch"].tolist()


def test_a_run_without_progress_stops_early_and_a_restart_does_not_take_it_up_again(train):
    """With a rate of 0 no epoch is better than the first."""
    settings = ("optimiser.epochs=6", "optimiser.early_stopping=2", "optimiser.learning_rate=0")
    assert epochs_of(train(*settings)) == [0, 1, 2]
    assert epochs_of(train(*settings, resume=True)) == [0, 1, 2]


@pytest.mark.parametrize(("kept", "epoch"), [("best", 0), ("last", 1)])
def test_the_best_epoch_is_kept_or_the_last(train, monkeypatch, kept, epoch):
    """Of two epochs of which the second is told to be worse."""
    weights = []

    def ever_worse(self):
        weights.append({name: tensor.clone() for name, tensor in self.network.state_dict().items()})
        self.log("val/abs_rel", float(len(weights)))
        self.validation_metrics.reset()

    monkeypatch.setattr(training.DepthModule, "on_validation_epoch_end", ever_worse)
    run = train("optimiser.epochs=2", f"optimiser.kept_epoch={kept}")
    model = load_file(run / "model.safetensors")
    assert [all(torch.equal(model[name], of[name]) for name in model) for of in weights] == [epoch == 0, epoch == 1]


def test_ctrl_c_is_told_from_any_other_exit(train, monkeypatch):
    def leave(*arguments):
        raise SystemExit(3)

    def interrupted(*arguments):  # as pytorch-lightning does
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904

    monkeypatch.setattr(training, "build_trainer", leave)
    with pytest.raises(SystemExit, match="3"):
        train("optimiser.epochs=1")
    monkeypatch.setattr(training, "build_trainer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train("optimiser.epochs=1")


def test_losses_metrics_rates_and_pictures_are_logged(train):
    run = train("optimiser.epochs=2", "optimiser.schedule=one_cycle", "network.confidence=true")
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"train/loss", "train/ssim", "train/confidence", "val/abs_rel", "val/rmse", "val/delta1"} <= scalars
    assert [event.step for event in events.Scalars("val/abs_rel")] == [3, 7]
    table = pd.read_csv(run / "logs" / "version_0" / "metrics.csv")
    logged = [event.value for event in events.Scalars("val/abs_rel")]
    assert table["val/abs_rel"].dropna().tolist() == pytest.approx(logged, rel=1e-5)
    assert any(name.startswith("lr-AdamW") for name in scalars)
    assert {f"validation/{place}" for place in range(2)} <= set(events.Tags()["images"])
    picture = events.Images("validation/0")[-1]
    assert (picture.height, picture.width) == (72, 3 * 96)


def test_an_example_shows_the_image_and_both_depths_on_one_scale():
    image = torch.full((1, 3, 4, 6), 200, dtype=torch.uint8)
    truth_m = torch.full((1, 1, 8, 12), 2.0)
    truth_m[..., :6] = 1.0
    truth_m[..., :2, :] = 0
    (panel,) = callbacks.example_panels(image, truth_m, truth_m.clamp(min=1))
    assert panel.shape == (4, 18, 3)
    pixels, truth, predicted = np.split(panel, 3, axis=1)
    assert (pixels == 200).all()
    assert (truth[0] == 0).all()  # unknown
    assert (truth[1:] == predicted[1:]).all()
    assert (truth[1:, 0] != truth[1:, -1]).any()
