"""The depth metrics of the paper (section 3.1) and the protocol under which they are taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

METRIC_NAMES = ("abs_rel", "rmse", "rmse_relative", "log10", "delta1", "delta2", "delta3")


@dataclass(frozen=True)
class Protocol:
    """Where and how prediction and truth are compared.

    Attributes:
        name: What tables call it.
        height: Size at which they are compared, pixels.
        width: Likewise.
        rows: First and one past the last row compared.
        columns: Likewise.
        least_depth_m: Truth at or below it is left out; predictions are clipped to it.
        greatest_depth_m: Truth at or above it is left out; predictions are clipped to it.
    """

    name: str
    height: int
    width: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    least_depth_m: float
    greatest_depth_m: float

    def describe(self) -> str:
        """Say the protocol in one line, for reports and model files."""
        return (
            f"{self.name}: {self.height}x{self.width}, rows {self.rows[0]}:{self.rows[1]}, columns "
            f"{self.columns[0]}:{self.columns[1]}, truth in ({self.least_depth_m}, {self.greatest_depth_m}) m, "
            "predictions clipped to it, per image then mean, no alignment, no flip averaging, single scale"
        )


NYU_EIGEN = Protocol("nyu-eigen", 480, 640, (45, 471), (41, 601), 1e-3, 10.0)


def per_image_metrics(predicted_m: Tensor, truth_m: Tensor, protocol: Protocol = NYU_EIGEN) -> dict[str, Tensor]:
    """Compute every metric for each image of a batch.

    Args:
        predicted_m: (B, 1, H, W) metres, at the protocol's size.
        truth_m: (B, 1, H, W) metres; outside the protocol's range means unknown.
        protocol: Crop, clip and mask.

    Returns:
        Metric name to (B,) float64. ``rmse`` is in metres; ``rmse_relative`` is what the paper calls "rms".
        An image without a single known pixel gives NaN.

    Raises:
        ValueError: The sizes differ from each other or from the protocol's.
    """
    if predicted_m.shape != truth_m.shape or tuple(truth_m.shape[-2:]) != (protocol.height, protocol.width):
        raise ValueError(
            f"prediction {tuple(predicted_m.shape)} and truth {tuple(truth_m.shape)} must both be "
            f"(B, 1, {protocol.height}, {protocol.width}) under protocol {protocol.name}: resize the prediction first"
        )
    window = (..., slice(*protocol.rows), slice(*protocol.columns))
    truth = truth_m[window].flatten(1).double()  # (B, N)
    predicted = predicted_m[window].flatten(1).double().clamp(protocol.least_depth_m, protocol.greatest_depth_m)
    known = (truth > protocol.least_depth_m) & (truth < protocol.greatest_depth_m)
    truth = torch.where(known, truth, 1.0)
    predicted = torch.where(known, predicted, 1.0)
    count = known.sum(1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(known, values, 0.0).sum(1) / count

    error = truth - predicted
    ratio = torch.maximum(truth / predicted, predicted / truth)
    return {
        "abs_rel": mean(error.abs() / truth),
        "rmse": mean(error.square()).sqrt(),
        "rmse_relative": mean((error / truth).square()).sqrt(),
        "log10": mean((truth.log10() - predicted.log10()).abs()),
        **{f"delta{power}": mean((ratio < 1.25**power).double()) for power in (1, 2, 3)},
    }


class DepthMetrics(Metric):
    """Streaming mean over images of :func:`per_image_metrics`; sums and counts are reduced across processes."""

    full_state_update = False
    sums: Tensor
    images: Tensor

    def __init__(self, protocol: Protocol = NYU_EIGEN, sync_on_compute: bool = True):
        super().__init__(sync_on_compute=sync_on_compute)
        self.protocol = protocol
        self.add_state("sums", torch.zeros(len(METRIC_NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predicted_m: Tensor, truth_m: Tensor) -> None:
        """Add a batch; images without a known pixel do not count."""
        values = per_image_metrics(predicted_m, truth_m, self.protocol)
        stacked = torch.stack([values[name] for name in METRIC_NAMES], dim=1)  # (B, metrics)
        measured = ~stacked.isnan().any(1)
        self.sums += stacked[measured].sum(0)
        self.images += measured.sum()

    def compute(self) -> dict[str, Tensor]:
        """Mean of each metric over the images seen."""
        return dict(zip(METRIC_NAMES, self.sums / self.images, strict=True))
