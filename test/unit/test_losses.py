"""The paper's loss (section 2.3) against closed forms and torchmetrics."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from torchmetrics.functional.image import structural_similarity_index_measure  # noqa: E402

from depth_training.config import LossConfig  # noqa: E402
from depth_training.losses import LogDepthLoss, build_loss, confidence_nll, gradient_l1, ssim_map  # noqa: E402


@pytest.fixture
def depth_m() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 1 + 4 * torch.rand(2, 1, 32, 40, generator=generator)


def test_a_perfect_prediction_costs_nothing(depth_m):
    terms = build_loss(LossConfig())(depth_m, depth_m)
    assert terms["loss"].item() == pytest.approx(0, abs=1e-5)


def test_a_constant_offset_costs_its_l1_and_no_gradient(depth_m):
    terms = build_loss(LossConfig())(depth_m + 0.5, depth_m)
    assert terms["depth_l1"].item() == pytest.approx(0.5, rel=1e-5)
    assert terms["gradient"].item() == pytest.approx(0, abs=1e-5)
    assert terms["loss"].item() == pytest.approx(0.1 * 0.5 + terms["ssim"].item(), abs=1e-5)


def test_the_gradient_term_of_a_ramp_is_its_slope():
    ramp = torch.arange(40.0).expand(1, 1, 32, 40) * 0.25
    known = torch.ones_like(ramp, dtype=torch.bool)
    assert gradient_l1(ramp, known).item() == pytest.approx(0.25)
    assert gradient_l1(ramp, known, step=4).item() == pytest.approx(1.0)


def test_gradients_across_unknown_pixels_do_not_count():
    error = torch.zeros(1, 1, 8, 8)
    error[..., 4:] = 100.0
    known = torch.ones_like(error, dtype=torch.bool)
    known[..., 4] = False
    assert gradient_l1(error, known).item() == 0


def test_ssim_agrees_with_torchmetrics(depth_m):
    other = depth_m + 0.3 * torch.randn(depth_m.shape, generator=torch.Generator().manual_seed(4))
    _, reference = structural_similarity_index_measure(
        depth_m, other, kernel_size=11, sigma=1.5, data_range=10.0, return_full_image=True
    )
    inside = np.s_[..., 5:-5, 5:-5]
    torch.testing.assert_close(ssim_map(depth_m, other, 10.0), reference[inside], atol=1e-4, rtol=1e-3)


def test_windows_that_touch_an_unknown_pixel_are_left_out(depth_m):
    truth = depth_m.clone()
    truth[..., 16, 20] = 0
    predicted = depth_m.clone()
    predicted[..., 16, 20] = 9.0
    for name in ("paper", "log_depth"):
        assert build_loss(LossConfig(name=name))(predicted, truth)["loss"].item() == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize("name", ["paper", "log_depth"])
def test_nothing_known_gives_a_finite_loss_and_gradient(name):
    predicted = torch.full((1, 1, 32, 40), 2.0, requires_grad=True)
    loss = build_loss(LossConfig(name=name))(predicted, torch.zeros(1, 1, 32, 40))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(predicted.grad).all()


def test_the_log_loss_keeps_metric_scale(depth_m):
    """A pure scale-invariant loss would let a factor pass; this one must not."""
    loss = LogDepthLoss(LossConfig(name="log_depth"))
    errors = [loss(depth_m * factor, depth_m)["loss"].item() for factor in (1.0, 1.1, 1.3)]
    assert errors == sorted(errors)
    assert errors[1] > 0.1


def test_the_confidence_loss_is_a_normal_distributions(depth_m):
    """Oracle: torch.distributions, but for the constant ln(2 pi) / 2."""
    generator = torch.Generator().manual_seed(5)
    sigma = 0.05 + torch.rand(depth_m.shape, generator=generator)
    truth_m = depth_m * torch.exp(0.3 * torch.randn(depth_m.shape, generator=generator))
    normal = torch.distributions.Normal(depth_m.log(), sigma)
    expected = -normal.log_prob(truth_m.log()) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(confidence_nll(sigma, depth_m, truth_m), expected.mean())
    truth_m[..., :10, :] = 0
    torch.testing.assert_close(confidence_nll(sigma, depth_m, truth_m), expected[..., 10:, :].mean())


def test_the_confidence_loss_is_least_at_the_true_spread_and_teaches_the_depth_nothing(depth_m):
    error = 0.25 * torch.randn(depth_m.shape, generator=torch.Generator().manual_seed(6))
    predicted_m = depth_m.clone().requires_grad_()
    losses = {}
    for sigma in (0.15, 0.25, 0.4):
        width = torch.full_like(depth_m, sigma, requires_grad=True)
        losses[sigma] = confidence_nll(width, predicted_m, depth_m * error.exp())
        losses[sigma].backward()
        assert width.grad.any()
    assert min(losses, key=losses.get) == 0.25
    assert predicted_m.grad is None


def test_a_confidence_without_any_truth_costs_nothing():
    sigma = torch.full((1, 1, 4, 4), 0.2, requires_grad=True)
    loss = confidence_nll(sigma, torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert not sigma.grad.any()


def test_an_unknown_loss_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'berhu'.*paper"):
        build_loss(LossConfig(name="berhu"))
