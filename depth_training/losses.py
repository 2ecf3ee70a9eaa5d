"""Training objectives (paper, section 2.3, and a log-depth one that keeps the metric scale)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from depth_training.config import LossConfig

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
LEAST_DEPTH_M = 1e-3
TYPICAL_DEPTH_M = 2.75


def masked_mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of the values where ``known``; 0 where nothing is known."""
    return torch.where(known, values, 0.0).sum() / known_per_process(known).clamp(min=1)


def known_per_process(known: Tensor) -> Tensor:
    """How many are known, alone; the mean of that over the processes that train together.

    Those take the mean of their gradients, which with this divisor is the gradient of the mean over all they know.
    """
    count = known.sum()
    if not (distributed.is_available() and distributed.is_initialized()):
        return count
    count = count.float()
    distributed.all_reduce(count)
    return count / distributed.get_world_size()


def gradient_l1(error: Tensor, known: Tensor, step: int = 1) -> Tensor:
    """L1 norm of the forward differences of an error map, where both pixels are known (paper, equation 3).

    Args:
        error: (B, 1, h, w) prediction minus truth.
        known: (B, 1, h, w) bool.
        step: Distance in pixels between the two.
    """
    horizontal = (error[..., step:] - error[..., :-step]).abs()
    vertical = (error[..., step:, :] - error[..., :-step, :]).abs()
    return masked_mean(horizontal, known[..., step:] & known[..., :-step]) + masked_mean(
        vertical, known[..., step:, :] & known[..., :-step, :]
    )


def ssim_map(x: Tensor, y: Tensor, data_range: float) -> Tensor:
    """Structural similarity with an 11-pixel Gaussian window of sigma 1.5, only for windows that lie wholly inside.

    Returns:
        (B, 1, h - 10, w - 10), each value in -1..1.
    """
    kernel = get_gaussian_kernel1d(SSIM_WINDOW, SSIM_SIGMA, device=x.device, dtype=x.dtype)

    def blur(image: Tensor) -> Tensor:
        return filter2d_separable(image, kernel, kernel, padding="valid")

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y = blur(x), blur(y)
    variance_x = blur(x * x) - mean_x.square()
    variance_y = blur(y * y) - mean_y.square()
    covariance = blur(x * y) - mean_x * mean_y
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2)
    )


class PaperLoss(nn.Module):
    """``lambda * L1 + gradient L1 + (1 - SSIM) / 2`` in metres (paper, equations 1 to 4).

    SSIM windows that touch an unknown pixel are left out. The data range of SSIM is the greatest depth, 10 m.
    """

    def __init__(self, config: LossConfig, data_range_m: float = 10.0):
        super().__init__()
        self.lambda_depth = config.lambda_depth
        self.data_range_m = data_range_m

    def forward(self, predicted_m: Tensor, truth_m: Tensor) -> dict[str, Tensor]:
        """Terms by name and their weighted sum as ``loss``; truth of 0 is unknown. Both (B, 1, h, w) metres."""
        known = truth_m > 0
        error = predicted_m - truth_m
        whole_windows = F.max_pool2d((~known).float(), SSIM_WINDOW, stride=1) == 0
        similarity = ssim_map(torch.where(known, predicted_m, 0.0), truth_m, self.data_range_m)
        terms = {
            "depth_l1": masked_mean(error.abs(), known),
            "gradient": gradient_l1(error, known),
            "ssim": masked_mean((1 - similarity) / 2, whole_windows),
        }
        return {**terms, "loss": self.lambda_depth * terms["depth_l1"] + terms["gradient"] + terms["ssim"]}


class InverseDepthLoss(PaperLoss):
    """The paper's loss on inverse depth, so that far pixels do not outweigh near ones (section 2.3; it was not run).

    As in its reference [1], what is compared is the greatest depth over depth: 1 at 10 m, 100 at 0.1 m, which is also
    the data range of SSIM. Predictions below 0.1 m count as 0.1 m.
    """

    def __init__(self, config: LossConfig, least_depth_m: float = 0.1, greatest_depth_m: float = 10.0):
        super().__init__(config, greatest_depth_m / least_depth_m)
        self.least_depth_m, self.greatest_depth_m = least_depth_m, greatest_depth_m

    def forward(self, predicted_m: Tensor, truth_m: Tensor) -> dict[str, Tensor]:
        """Terms of :class:`PaperLoss`, without unit. Both (B, 1, h, w) metres; truth of 0 is unknown."""
        truth = self.greatest_depth_m / truth_m.clamp(min=self.least_depth_m)
        predicted = self.greatest_depth_m / predicted_m.clamp(min=self.least_depth_m)
        return super().forward(predicted, torch.where(truth_m > 0, truth, 0.0))


class SquaredLoss(nn.Module):
    """Mean squared error of depth (named in the paper's section 2.3)."""

    def __init__(self, config: LossConfig):
        super().__init__()

    def forward(self, predicted_m: Tensor, truth_m: Tensor) -> dict[str, Tensor]:
        """``loss`` in square metres; truth of 0 is unknown. Both (B, 1, h, w) metres."""
        return {"loss": masked_mean((predicted_m - truth_m).square(), truth_m > 0)}


class ReverseHuberLoss(nn.Module):
    """L1 below a threshold c, ``(e^2 + c^2) / 2c`` above it (named in the paper's section 2.3, its reference [7]).

    c is a fifth of the greatest error of the batch; no gradient goes through it. Each process takes its own part's.
    """

    SHARE = 0.2

    def __init__(self, config: LossConfig):
        super().__init__()

    def forward(self, predicted_m: Tensor, truth_m: Tensor) -> dict[str, Tensor]:
        """``loss`` in metres; truth of 0 is unknown. Both (B, 1, h, w) metres."""
        known = truth_m > 0
        error = torch.where(known, predicted_m - truth_m, 0.0).abs()
        threshold = (self.SHARE * error.detach().max()).clamp(min=1e-6)
        above = (error.square() + threshold.square()) / (2 * threshold)
        return {"loss": masked_mean(torch.where(error <= threshold, error, above), known)}


class LogDepthLoss(nn.Module):
    """L1 in log depth, the scale-invariant spread, and gradients over several pixels.

    The truth of the training set is stored in steps of 39 mm, so that most neighbouring pixels are equal and some jump:
    gradients are taken over 4, 8 and 16 pixels, where a step no longer matters, and never over one.

    L1 alone answers the median. Where log depth is normally distributed, the mean in metres, which has the least rmse,
    is the median under weights of ``truth ** 0.5``.
    """

    STEPS = (4, 8, 16)

    def __init__(self, config: LossConfig):
        super().__init__()
        self.depth_power = config.depth_power
        self.variance_focus = config.variance_focus
        self.gradient_weight = config.gradient_weight

    def forward(self, predicted_m: Tensor, truth_m: Tensor) -> dict[str, Tensor]:
        """Terms by name and their weighted sum as ``loss``; truth of 0 is unknown. Both (B, 1, h, w) metres."""
        known = truth_m > 0
        # A linear head may answer what has no logarithm.
        predicted_m = predicted_m.clamp(min=LEAST_DEPTH_M)
        error = torch.where(known, predicted_m.log() - torch.where(known, truth_m, 1.0).log(), 0.0)
        weight = torch.where(known, (torch.where(known, truth_m, 1.0) / TYPICAL_DEPTH_M) ** self.depth_power, 0.0)
        total = weight.sum((1, 2, 3)).clamp(min=LEAST_DEPTH_M)
        mean = (weight * error).sum((1, 2, 3)) / total
        mean_square = (weight * error.square()).sum((1, 2, 3)) / total
        spread = (mean_square - self.variance_focus * mean.square() + 1e-6).sqrt().mean()
        terms = {
            "log_l1": masked_mean(weight * error.abs(), known),
            "spread": spread,
            "gradient": torch.stack([gradient_l1(error, known, step) for step in self.STEPS]).mean(),
        }
        return {**terms, "loss": terms["log_l1"] + terms["spread"] + self.gradient_weight * terms["gradient"]}


def confidence_nll(log_depth_sigma: Tensor, predicted_m: Tensor, truth_m: Tensor) -> Tensor:
    """Negative log likelihood of a normal distribution of log depth, for its width alone.

    Args:
        log_depth_sigma: (B, 1, h, w), one standard deviation of ln(depth).
        predicted_m: (B, 1, h, w) metres, its centre; no gradient goes there.
        truth_m: (B, 1, h, w) metres, 0 unknown.
    """
    known = truth_m > 0
    error = predicted_m.detach().clamp(min=LEAST_DEPTH_M).log() - torch.where(known, truth_m, 1.0).log()
    return masked_mean(log_depth_sigma.log() + 0.5 * (error / log_depth_sigma).square(), known)


LOSSES: dict[str, Callable[[LossConfig], nn.Module]] = {
    "paper": PaperLoss,
    "paper_inverse": InverseDepthLoss,
    "l2": SquaredLoss,
    "reverse_huber": ReverseHuberLoss,
    "log_depth": LogDepthLoss,
}


def build_loss(config: LossConfig) -> nn.Module:
    """Make the objective that the configuration names.

    Raises:
        ValueError: An unknown name, or a share that is none.
    """
    if not 0 <= config.teacher_weight <= 1:
        raise ValueError(f"loss.teacher_weight is {config.teacher_weight:g}: give the teacher's share, from 0 to 1")
    if config.name not in LOSSES:
        raise ValueError(f"unknown loss {config.name!r}: choose one of {', '.join(LOSSES)}")
    return LOSSES[config.name](config)
