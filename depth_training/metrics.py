"""The depth metrics of the paper (section 3.1), per image and over all pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from depth_training.protocols import NYU_EIGEN, REDUCTIONS, Protocol

METRIC_NAMES = ("abs_rel", "rmse", "rmse_relative", "log10", "delta1", "delta2", "delta3")
#: Roots of a mean of squares: what is added up, over pixels or images that are pooled, is their square.
ROOT_METRICS = ("rmse", "rmse_relative")


def per_image_means(
    predicted_m: Tensor, truth_m: Tensor, protocol: Protocol = NYU_EIGEN
) -> tuple[dict[str, Tensor], Tensor]:
    """Mean over the known pixels of each image of what every metric is made of; squares for :data:`ROOT_METRICS`.

    Args:
        predicted_m: (B, 1, H, W) metres, at the protocol's size; unknown ones (NaN) count as the least depth.
        truth_m: (B, 1, H, W) metres; outside the protocol's range means unknown.
        protocol: Crop, clip and mask.

    Returns:
        Metric name to (B,) float64, NaN for an image without a single known pixel; and the (B,) number of known pixels.

    Raises:
        ValueError: The sizes differ from each other or from the protocol's.
    """
    height, width = truth_m.shape[-2:]
    if predicted_m.shape != truth_m.shape or not protocol.fits(height, width):
        raise ValueError(
            f"prediction {tuple(predicted_m.shape)} and truth {tuple(truth_m.shape)} must both be "
            f"(B, 1, {protocol.height}, {protocol.width}) under protocol {protocol.name}: resize the prediction first"
        )
    least_m, greatest_m = protocol.bounds_m
    truth = protocol.compared(truth_m).flatten(1).double()  # (B, N)
    predicted = protocol.compared(predicted_m).flatten(1).double()
    predicted = torch.where(predicted.isnan(), least_m, predicted).clamp(least_m, greatest_m)
    known = protocol.known(truth)
    truth = torch.where(known, truth, 1.0)
    predicted = torch.where(known, predicted, 1.0)
    count = known.sum(1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(known, values, 0.0).sum(1) / count

    error = truth - predicted
    ratio = torch.maximum(truth / predicted, predicted / truth)
    means = {
        "abs_rel": mean(error.abs() / truth),
        "rmse": mean(error.square()),
        "rmse_relative": mean((error / truth).square()),
        "log10": mean((truth.log10() - predicted.log10()).abs()),
        **{f"delta{power}": mean((ratio < 1.25**power).double()) for power in (1, 2, 3)},
    }
    return means, count


def per_image_metrics(predicted_m: Tensor, truth_m: Tensor, protocol: Protocol = NYU_EIGEN) -> dict[str, Tensor]:
    """Compute every metric for each image of a batch; arguments and errors as :func:`per_image_means`.

    Returns:
        Metric name to (B,) float64. ``rmse`` is in metres; ``rmse_relative`` is what the paper calls "rms".
        An image without a single known pixel gives NaN.
    """
    return rooted(per_image_means(predicted_m, truth_m, protocol)[0])


def rooted(means: dict[str, Tensor]) -> dict[str, Tensor]:
    """Metrics from the means they are made of."""
    return {name: value.sqrt() if name in ROOT_METRICS else value for name, value in means.items()}


class DepthMetrics(Metric):
    """Streaming metrics of :func:`per_image_metrics`; sums and counts are reduced across processes.

    Args:
        protocol: Crop, clip and mask.
        reduce: ``image`` (mean over images of each image's metrics) or ``pooled`` (every known pixel counts alike,
            whatever its image).
    """

    full_state_update = False
    sums: Tensor
    images: Tensor
    weight: Tensor

    def __init__(self, protocol: Protocol = NYU_EIGEN, reduce: str = "image", sync_on_compute: bool = True):
        super().__init__(sync_on_compute=sync_on_compute)
        if reduce not in REDUCTIONS:
            raise ValueError(f"metrics cannot be reduced by {reduce!r}: choose {' or '.join(REDUCTIONS)}")
        self.protocol, self.pooled = protocol, reduce == "pooled"
        self.add_state("sums", torch.zeros(len(METRIC_NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predicted_m: Tensor, truth_m: Tensor) -> None:
        """Add a batch; images without a known pixel do not count."""
        means, pixels = per_image_means(predicted_m, truth_m, self.protocol)
        values = means if self.pooled else rooted(means)
        stacked = torch.stack([values[name] for name in METRIC_NAMES], dim=1)  # (B, metrics)
        measured = pixels > 0
        weights = pixels[measured].double() if self.pooled else torch.ones_like(pixels[measured], dtype=torch.float64)
        self.sums += (weights[:, None] * stacked[measured]).sum(0)
        self.images += measured.sum()
        self.weight += weights.sum()

    def compute(self) -> dict[str, Tensor]:
        """Each metric over the images seen."""
        means = dict(zip(METRIC_NAMES, self.sums / self.weight, strict=True))
        return rooted(means) if self.pooled else means
