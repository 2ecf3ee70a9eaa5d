"""One step of training, outside the trainer: which terms make the loss, and what learns from them."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_training.checkpoint import RunError, build_contract, load_checkpoint, save_checkpoint  # noqa: E402
from depth_training.config import (  # noqa: E402
    ConfigError,
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimiserConfig,
    TrainingConfig,
)
from depth_training.data.batch_shrink import shrink_batch  # noqa: E402
from depth_training.losses import confidence_nll  # noqa: E402
from depth_training.network.depth_network import DepthNetwork  # noqa: E402
from depth_training.training import SHRINK_SIZES, DepthModule  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


def build_module(confidence: bool, **loss) -> DepthModule:
    torch.manual_seed(0)
    network = NetworkConfig(
        freeze_encoder=False,
        frozen_stages=3,
        widths=[16, 12, 8, 8],
        bottleneck_width=16,
        light_decoder=True,
        head="log_depth",
        confidence=confidence,
    )
    config = TrainingConfig(
        network=network,
        encoder_weights=None,  # random
        loss=LossConfig(name="log_depth", **loss),
        optimiser=OptimiserConfig(learning_rate=1e-2, weight_decay=0.1),
    )
    return DepthModule(config).train()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    generator = torch.Generator().manual_seed(1)
    truth_m = 0.5 + 5 * torch.rand(2, 1, 64, 96, generator=generator)
    truth_m[:, :, :8] = 0
    image = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=generator)
    return image, truth_m, ["a.jpg", "b.jpg"]


def test_the_confidence_adds_its_weighted_likelihood_to_the_loss_and_nothing_else(batch):
    without = build_module(False).training_step(batch, 0)
    for weight in (0.0, 0.5):
        module = build_module(True, confidence_weight=weight)
        module.load_state_dict(build_module(False).state_dict(), strict=False)
        depth_m, sigma = module._predict(batch[0])
        truth_m = batch[1][:, :, 1::2, 1::2]  # nearest-exact of half the size
        expected = without + weight * confidence_nll(sigma, depth_m, truth_m)
        torch.testing.assert_close(module.training_step(batch, 0), expected)


@pytest.mark.parametrize("confidence", [True, False])
def test_a_step_moves_all_that_learns_and_no_frozen_stage(batch, confidence):
    module = build_module(confidence)
    before = {name: value.detach().clone() for name, value in module.network.state_dict().items()}
    optimiser = module.configure_optimizers()
    module.training_step(batch, 0).backward()
    optimiser.step()
    after = module.network.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    stages = {int(name.split(".")[2]) for name in moved if name.startswith("encoder.")}
    assert stages == set(range(3, 19))
    assert not any("running" in name for name in moved if name.startswith("encoder."))
    parts = {name.split(".")[0] for name in moved}
    assert parts == {"encoder", "decoder", "head"} | ({"confidence"} if confidence else set())


@pytest.mark.parametrize("confidence", [True, False])
def test_validation_judges_the_depth_alone(confidence):
    module = build_module(confidence).eval()
    image = torch.randint(0, 256, (1, 3, 60, 80), dtype=torch.uint8)
    with torch.inference_mode():
        module.validation_step((image, torch.full((1, 1, 480, 640), 2.0)), 0)
        depth_m = module._predict(image)[0]
    metrics = module.validation_metrics.compute()
    assert metrics["abs_rel"] == pytest.approx((depth_m.mean() / 2 - 1).abs().item(), rel=0.05)


def test_images_of_another_size_than_nyu_depths_are_judged_whole():
    config = build_module(False).config
    config.data.camera_height, config.data.camera_width = 120, 200
    module = DepthModule(config).eval()
    image = torch.randint(0, 256, (1, 3, 60, 100), dtype=torch.uint8)
    truth_m = torch.full((1, 1, 120, 200), 2.0)
    truth_m[..., :60, :] = 20.0  # beyond what counts
    with torch.inference_mode():
        depth_m = module.validation_step((image, truth_m), 0)
    wanted = (depth_m[..., 60:, :].clamp(1e-3, 10) / 2 - 1).abs().mean().item()
    assert module.validation_metrics.compute()["abs_rel"] == pytest.approx(wanted, rel=1e-4)
    assert module.validation_metrics.protocol.name == "whole-image"


def test_a_loss_that_is_not_finite_names_the_images(batch):
    module = build_module(True)
    module.loss.forward = lambda predicted_m, truth_m: {"loss": predicted_m.sum() * float("nan")}
    with pytest.raises(RunError, match=r"the loss is nan.*on a\.jpg, b\.jpg.*learning_rate"):
        module.training_step(batch, 7)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_move(batch):
    """A finite loss may have one: the slope of a square root at 0."""
    module = build_module(True)
    optimiser = module.configure_optimizers()
    module.loss.forward = lambda predicted_m, truth_m: {"loss": (predicted_m * 0).sqrt().sum()}
    loss = module.training_step(batch, 0)
    assert torch.isfinite(loss)
    loss.backward()
    with pytest.raises(RunError, match=r"the gradient is nan.*on a\.jpg, b\.jpg"):
        module.on_before_optimizer_step(optimiser)


def test_a_share_of_the_batches_is_shown_smaller_and_farther(batch, monkeypatch):
    """A step on shrunk views is one on smaller images whose depth is farther by the ratio of the focal lengths."""
    module = build_module(False)
    module.config.data.shrink, module.config.data.shrink_least = 0.5, 0.5
    seen = []

    def predict(self, image):
        seen.append(tuple(image.shape[-2:]))
        return (torch.ones(len(image), 1, image.shape[-2] // 2, image.shape[-1] // 2, requires_grad=True),)

    truths_m = []

    class Listener(torch.nn.Module):
        def forward(self, predicted_m, truth_m):
            truths_m.append(truth_m)
            return {"loss": predicted_m.sum()}

    monkeypatch.setattr(DepthModule, "_predict", predict)
    module.loss = Listener()
    image, _, names = batch
    for step in range(60):
        monkeypatch.setattr(DepthModule, "global_step", step)
        module.training_step((image, torch.full((2, 1, 64, 96), 3.0), names), step)
    sizes = set(seen)
    assert 15 < seen.count((64, 96)) < 45
    assert len(sizes) == 1 + SHRINK_SIZES
    assert all(32 <= height <= 64 and 48 <= width <= 96 and height % 2 == width % 2 == 0 for height, width in sizes)
    for (height, width), truth_m in zip(seen, truths_m, strict=True):
        assert truth_m.unique().item() == pytest.approx(3.0 * (64 * 96 / (height * width)) ** 0.5)


def test_every_process_shrinks_a_batch_alike(monkeypatch):
    draws = []
    for rank in (0, 1):
        module = build_module(False)
        module.config.data.shrink = 0.7
        monkeypatch.setattr(DepthModule, "global_rank", rank)
        draws.append([])
        for step in range(20):
            monkeypatch.setattr(DepthModule, "global_step", step)
            module.on_train_batch_start(None, step)
            draws[-1].append(module._draw_shrink())
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 1 + SHRINK_SIZES


def test_a_shrunk_view_is_the_same_view(batch):
    """Image against OpenCV's area filter, depth against every second pixel; unknown stays unknown."""
    grey, truth_m, _ = batch
    smooth = np.stack([cv2.GaussianBlur(view.permute(1, 2, 0).numpy(), (0, 0), 4) for view in grey])
    image = torch.from_numpy(smooth).permute(0, 3, 1, 2)
    smaller, depth_m = shrink_batch(image, truth_m, 0.5)
    for before, after in zip(smooth, smaller.permute(0, 2, 3, 1).numpy(), strict=True):
        expected = cv2.resize(before, (48, 32), interpolation=cv2.INTER_AREA)
        assert np.abs(expected.astype(int) - after)[1:-1, 1:-1].max() <= 2
    assert torch.equal(depth_m, 2 * truth_m[:, :, 1::2, 1::2])
    assert (depth_m[:, :, :4] == 0).all()


def write_teacher(path, **data):
    torch.manual_seed(7)
    network = NetworkConfig(widths=[8, 8, 8, 8], bottleneck_width=8, head="log_depth")
    config = TrainingConfig(network=network, data=DataConfig(pairs="some/train.csv", **data))
    return save_checkpoint(DepthNetwork(network).eval(), build_contract(config, {}), path)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_teacher_shares_the_loss_and_is_neither_trained_nor_saved(batch, tmp_path, weight):
    """The whole against its two halves, each computed as a loss of its own."""
    path = write_teacher(tmp_path / "teacher.safetensors")
    alone, taught = build_module(False), build_module(False, teacher=str(path), teacher_weight=weight)
    with torch.inference_mode():
        teacher_m = load_checkpoint(path)[0](batch[0] / 255)[0]  # (2, 1, 32, 48)
    by_truth = alone.training_step(batch, 0)
    by_teacher = alone.loss(alone._predict(batch[0])[0], teacher_m)["loss"]
    loss = taught.training_step(batch, 0)
    torch.testing.assert_close(loss, (1 - weight) * by_truth + weight * by_teacher)
    loss.backward()
    assert taught.state_dict().keys() == alone.state_dict().keys()
    assert not any(parameter.grad is not None for parameter in taught.teacher.network.parameters())
    assert not taught.train().teacher.network.training


def test_a_teacher_sees_the_whole_batch_and_tells_of_the_shrunk_one(batch, tmp_path, monkeypatch):
    """It was taught at the native size, so its answer is shrunk and not its image."""
    module = build_module(False, teacher=str(write_teacher(tmp_path / "teacher.safetensors")), teacher_weight=1.0)
    monkeypatch.setattr(module, "_draw_shrink", lambda: 0.5)
    with torch.inference_mode():
        teacher_m = module.teacher.network(batch[0] / 255)[0]  # (2, 1, 32, 48)
    predicted_m = module._predict(shrink_batch(*batch[:2], 0.5)[0])[0]  # (2, 1, 16, 24)
    expected = module.loss(predicted_m, 2 * teacher_m[:, :, 1::2, 1::2])["loss"]
    torch.testing.assert_close(module.training_step(batch, 0), expected)


def test_a_teacher_of_another_camera_or_none_is_refused(tmp_path):
    path = write_teacher(tmp_path / "teacher.safetensors", native_width=160, native_height=120)
    with pytest.raises(ConfigError, match="the same training camera and native size"):
        build_module(False, teacher=str(path))
    with pytest.raises(ConfigError, match=r"loss\.teacher nobody is neither a bundled checkpoint"):
        build_module(False, teacher="nobody")
