"""Where an image's error comes from: its scale, its shape, its edges; and at which depth it is made.

Both look at the pixels that a protocol compares, with predictions clipped as it says.

**The parts** add up to the image's abs_rel:

- ``scale_part``: what goes away when the prediction is multiplied by median(truth) / median(prediction). Below zero
  where that makes it worse.
- ``edge_part``: what is left then at pixels near a true depth step, over the number of all pixels.
- ``shape_part``: what is left then everywhere else, likewise.

A *true depth step* is a place where two known true depths within 3x3 pixels differ by more than a factor of 1.25;
*near* is within 5 pixels of one, at the size of the truth. ``edge_share`` is the share of such pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

from depth_training.protocols import Protocol

STEP_RATIO = 1.25
NEAR_PX = 5
PART_NAMES = ("scale_part", "shape_part", "edge_part", "edge_share")
#: Metres between the depth bins.
BIN_EDGES_M = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0)
BIN_SUMS = ("pixels", "abs_rel", "squared_m2", "delta1", "log_ratio")


def near_steps(truth_m: np.ndarray) -> np.ndarray:
    """Which pixels lie near a true depth step.

    Args:
        truth_m: (H, W) metres, 0 where unknown.

    Returns:
        (H, W) bool.
    """
    known = truth_m > 0
    log_truth = np.log(np.where(known, truth_m, 1)).astype(np.float32)
    # Unknown pixels are neither the farthest nor the nearest of their neighbourhood.
    farthest = cv2.dilate(np.where(known, log_truth, np.float32(-1e3)), _square(1))
    nearest = cv2.erode(np.where(known, log_truth, np.float32(1e3)), _square(1))
    steps = (farthest - nearest > np.log(STEP_RATIO)).astype(np.uint8)
    return cv2.dilate(steps, _square(NEAR_PX)) > 0


def _square(reach: int) -> np.ndarray:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def compared_depths(
    predicted_m: np.ndarray, truth_m: np.ndarray, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction (clipped, unknown as the least depth) and truth of the compared pixels, (N,) float64 metres; known.

    Returns:
        The two, and the (h, w) bool of where they stand in ``protocol.compared``.
    """
    truth = protocol.compared(truth_m)
    known = protocol.known(truth)
    least_m, greatest_m = protocol.bounds_m
    predicted = protocol.compared(predicted_m)[known].astype(np.float64)
    return (
        np.clip(np.where(np.isnan(predicted), least_m, predicted), least_m, greatest_m),
        truth[known].astype(np.float64),
        known,
    )


def error_parts(predicted_m: np.ndarray, truth_m: np.ndarray, protocol: Protocol) -> dict[str, float]:
    """Split one image's abs_rel as the module says.

    Args:
        predicted_m: (H, W) metres.
        truth_m: (H, W) metres, 0 where unknown.
        protocol: Whose size they have.

    Returns:
        :data:`PART_NAMES` to values, NaN where no pixel is known.
    """
    predicted, truth, known = compared_depths(predicted_m, truth_m, protocol)
    if not len(truth):
        return dict.fromkeys(PART_NAMES, float("nan"))
    near = protocol.compared(near_steps(truth_m))[known]
    factor = np.median(truth) / np.median(predicted)
    aligned = np.abs(factor * predicted - truth) / truth
    whole = np.mean(np.abs(predicted - truth) / truth)
    parts = (whole - aligned.mean(), aligned[~near].sum() / len(truth), aligned[near].sum() / len(truth), near.mean())
    return dict(zip(PART_NAMES, map(float, parts), strict=True))


def bin_sums(predicted_m: np.ndarray, truth_m: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Sums of :data:`BIN_SUMS` over the compared pixels of one image, by true depth.

    Returns:
        (bins, 5) float64; a bin holds depths from its lower edge of :data:`BIN_EDGES_M`, the last one all beyond it.
    """
    predicted, truth, _ = compared_depths(predicted_m, truth_m, protocol)
    places = np.digitize(truth, BIN_EDGES_M) - 1
    ratio = predicted / truth
    columns = (
        np.ones_like(truth),
        np.abs(ratio - 1),
        np.square(predicted - truth),
        np.maximum(ratio, 1 / ratio) < 1.25,
        np.log(ratio),
    )
    return np.stack([np.bincount(places, weights=column, minlength=len(BIN_EDGES_M)) for column in columns], axis=1)


def summarise_bins(sums: np.ndarray, seed: int = 0, samples: int = 1000) -> list[dict]:
    """Metrics by true depth, over all pixels of a bin, with 95 % bootstrap intervals over images.

    Args:
        sums: (images, bins, 5) of :func:`bin_sums`.
        seed: Of the resampling.
        samples: How often to resample.

    Returns:
        One object per bin that has pixels: ``from_m``, ``to_m`` (null: no end), ``pixels``, ``share`` of all pixels,
        ``abs_rel``, ``rmse``, ``delta1``, ``bias`` (mean of ln(prediction / truth)) and ``interval95`` of abs_rel.
    """
    total = sums.sum(axis=0)
    # A bin of one drawn set of images is a weighted sum, by how often each was drawn.
    drawn = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), samples)
    with np.errstate(invalid="ignore"):  # a drawn set may have no pixel in a bin
        resampled = drawn @ sums[..., 1] / (drawn @ sums[..., 0])
    bins = []
    for place, (pixels, abs_rel, squared, delta1, log_ratio) in enumerate(total):
        if pixels == 0:
            continue
        low, high = np.nanpercentile(resampled[:, place], [2.5, 97.5])
        bins.append(
            {
                "from_m": BIN_EDGES_M[place],
                "to_m": BIN_EDGES_M[place + 1] if place + 1 < len(BIN_EDGES_M) else None,
                "pixels": int(pixels),
                "share": float(pixels / total[:, 0].sum()),
                "abs_rel": float(abs_rel / pixels),
                "rmse": float(np.sqrt(squared / pixels)),
                "delta1": float(delta1 / pixels),
                "bias": float(log_ratio / pixels),
                "interval95": [float(low), float(high)],
            }
        )
    return bins
