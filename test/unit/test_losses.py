"""The paper's loss (section 2.3) against closed forms and torchmetrics."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from torchmetrics.functional.image import structural_similarity_index_measure  # noqa: E402

from depth_training.config import LossConfig  # noqa: E402
from depth_training.losses import LOSSES, LogDepthLoss, build_loss, confidence_nll, gradient_l1, ssim_map  # noqa: E402


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


def test_log_depth_of_what_a_linear_head_answers_below_zero_is_a_loss_with_gradients(depth_m):
    predicted_m = (depth_m - 2).requires_grad_()
    assert (predicted_m < 0).any()
    loss = build_loss(LossConfig(name="log_depth"))(predicted_m, depth_m)["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(predicted_m.grad).all()
    assert predicted_m.grad.any()


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
    for name in LOSSES:
        assert build_loss(LossConfig(name=name))(predicted, truth)["loss"].item() == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_known_gives_a_finite_loss_and_gradient(name):
    predicted = torch.full((1, 1, 32, 40), 2.0, requires_grad=True)
    loss = build_loss(LossConfig(name=name))(predicted, torch.zeros(1, 1, 32, 40))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(predicted.grad).all()


def test_the_inverse_loss_is_the_papers_loss_of_the_greatest_depth_over_depth(depth_m):
    truth_m, predicted_m = depth_m.clone(), depth_m * 1.25
    truth_m[..., :4, :] = 0
    terms = build_loss(LossConfig(name="paper_inverse"))(predicted_m, truth_m)
    inside = np.s_[..., 4:, :]
    truth, predicted = 10 / depth_m[inside], 8 / depth_m[inside]
    assert terms["depth_l1"].item() == pytest.approx((2 / depth_m[inside]).mean().item(), rel=1e-5)
    error = (predicted - truth).numpy()
    expected = np.abs(np.diff(error, axis=-1)).mean() + np.abs(np.diff(error, axis=-2)).mean()
    assert terms["gradient"].item() == pytest.approx(float(expected), rel=1e-5)
    _, similarity = structural_similarity_index_measure(
        predicted, truth, kernel_size=11, sigma=1.5, data_range=100.0, return_full_image=True
    )
    assert terms["ssim"].item() == pytest.approx((1 - similarity[..., 5:-5, 5:-5]).mean().item() / 2, abs=1e-4)
    assert terms["loss"].item() == pytest.approx(
        0.1 * terms["depth_l1"].item() + terms["gradient"].item() + terms["ssim"].item()
    )


def test_inverse_depth_weighs_a_near_error_more_than_a_far_one():
    near, far = torch.full((1, 1, 32, 40), 1.0), torch.full((1, 1, 32, 40), 8.0)
    loss = build_loss(LossConfig(name="paper_inverse"))
    assert loss(near + 0.2, near)["loss"] > 20 * loss(far + 0.2, far)["loss"]


def test_the_squared_loss_is_torchs(depth_m):
    predicted_m = depth_m.flip(-1)
    expected = torch.nn.functional.mse_loss(predicted_m, depth_m)
    torch.testing.assert_close(build_loss(LossConfig(name="l2"))(predicted_m, depth_m)["loss"], expected)


def test_the_reverse_huber_loss_of_known_errors():
    """The greatest error 5 makes c = 1: errors 0.5 and 1 cost themselves, 3 costs (9 + 1) / 2 and 5 costs 13."""
    errors = torch.tensor([0.5, -1.0, 3.0, -5.0, 7.0])
    truth_m = torch.tensor([6.0, 6.0, 6.0, 6.0, 0.0])
    predicted_m = (truth_m + errors).requires_grad_()
    loss = build_loss(LossConfig(name="reverse_huber"))
    value = loss(predicted_m.view(1, 1, 1, 5), truth_m.view(1, 1, 1, 5))["loss"]
    assert value.item() == pytest.approx((0.5 + 1 + 5 + 13) / 4)
    value.backward()
    # Slopes 1 below c and e / c above it.
    torch.testing.assert_close(predicted_m.grad, torch.tensor([1.0, -1.0, 3.0, -5.0, 0.0]) / 4)


def test_the_log_loss_keeps_metric_scale(depth_m):
    """A pure scale-invariant loss would let a factor pass; this one must not."""
    loss = LogDepthLoss(LossConfig(name="log_depth"))
    errors = [loss(depth_m * factor, depth_m)["loss"].item() for factor in (1.0, 1.1, 1.3)]
    assert errors == sorted(errors)
    assert errors[1] > 0.1


@pytest.mark.parametrize(("power", "depth_m"), [(0.0, 3.0), (0.5, 3.0 * math.exp(0.5 * 0.3**2)), (-1.0, None)])
def test_the_depth_that_costs_least_is_the_median_or_near_the_mean(power, depth_m):
    """Oracle: of a lognormal of median 3 m and width 0.3, median, mean, and median under weights of 1 / depth."""
    depth_m = depth_m or 3.0 * math.exp(-(0.3**2))
    shares = (torch.arange(4096) + 0.5) / 4096
    truth_m = (3.0 * torch.exp(0.3 * torch.special.ndtri(shares))).view(1, 1, 64, 64)
    loss = LogDepthLoss(LossConfig(name="log_depth", depth_power=power, gradient_weight=0.0))
    answers_m = torch.linspace(2.5, 3.5, 201)
    costs = [loss(torch.full_like(truth_m, answer_m), truth_m)["log_l1"].item() for answer_m in answers_m]
    assert answers_m[int(np.argmin(costs))].item() == pytest.approx(depth_m, abs=0.02)


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
    with pytest.raises(ValueError, match=r"'berhu'.*reverse_huber"):
        build_loss(LossConfig(name="berhu"))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_teachers_share_is_from_0_to_1(share):
    with pytest.raises(ValueError, match=rf"loss.teacher_weight is {share}: give"):
        build_loss(LossConfig(teacher_weight=share))


def test_the_confidence_loss_of_a_depth_below_zero_is_finite():
    """A linear head may answer one while it learns."""
    loss = confidence_nll(torch.full((1, 1, 2, 2), 0.2), torch.full((1, 1, 2, 2), -1.0), torch.ones(1, 1, 2, 2))
    assert torch.isfinite(loss)
