"""What masking depth by its confidence leaves, and whether confidence is the probability that it claims to be."""

from __future__ import annotations

import numpy as np

from depth_estimation_ros.confidence import WITHIN, to_confidence
from depth_training.confidence import known_pixels
from depth_training.protocols import Protocol

#: The node's `min_confidence`, at which masking is judged.
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)


def mask_sums(
    predicted_m: np.ndarray, log_depth_sigma: np.ndarray, truth_m: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """Sums over the compared pixels of one image, by confidence.

    Args:
        predicted_m: (H, W) metres.
        log_depth_sigma: (H, W), one standard deviation of ln(depth).
        truth_m: (H, W) metres, 0 where unknown.
        protocol: Whose size they have.

    Returns:
        (thresholds, 4) float64: pixels whose confidence lies between a threshold and the next, and their sums of
        confidence, of depth within a factor of 1.25, and of abs_rel.
    """
    predicted, sigma, truth = known_pixels(predicted_m, log_depth_sigma, truth_m, protocol)
    confidence = to_confidence(sigma.astype(np.float32)).astype(np.float64)
    places = np.digitize(confidence, THRESHOLDS) - 1
    ratio = predicted / truth
    columns = (np.ones_like(truth), confidence, np.maximum(ratio, 1 / ratio) < WITHIN, np.abs(ratio - 1))
    return np.stack([np.bincount(places, weights=column, minlength=len(THRESHOLDS)) for column in columns], axis=1)


def summarise_masks(sums: np.ndarray) -> list[dict[str, float]]:
    """What is left at each threshold, over all pixels of all images.

    Args:
        sums: (images, thresholds, 4) of :func:`mask_sums`, at least one pixel in all.

    Returns:
        One object per threshold that leaves a pixel: ``min_confidence``, ``kept`` (share of the pixels), and of those
        kept ``abs_rel``, ``told`` (mean confidence) and ``delta1``, which is what ``told`` should be.
    """
    total = sums.sum(axis=0)
    left = total[::-1].cumsum(axis=0)[::-1]  # (thresholds, 4), of all pixels above each
    return [
        {
            "min_confidence": threshold,
            "kept": float(pixels / left[0, 0]),
            "abs_rel": float(abs_rel / pixels),
            "told": float(told / pixels),
            "delta1": float(right / pixels),
        }
        for threshold, (pixels, told, right, abs_rel) in zip(THRESHOLDS, left, strict=True)
        if pixels
    ]
