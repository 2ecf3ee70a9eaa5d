"""How far a predicted log-depth sigma can be trusted: coverage, sparsification, and the factor that calibrates it.

Sparsification removes the pixels that the network trusts least, in steps of 5 %, and looks at the error of the rest:
its area over that of the full error is 1.00 for removal at random and less where the network knows where it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from depth_training.protocols import NYU_EIGEN, Protocol

REMOVED_SHARES = np.arange(20) / 20  # 0, 5, ..., 95 %
#: Share of a normal distribution within one standard deviation.
ONE_SIGMA_SHARE = 0.682689492137086
CONFIDENCE_NAMES = (
    "coverage_1_sigma",
    "coverage_2_sigma",
    "sparsification_abs_rel",
    "sparsification_rmse",
    "farthest_abs_rel",
    "farthest_rmse",
)
QUANTILES_PER_IMAGE = 1000


def coverage(error_in_sigmas: np.ndarray, sigmas: float) -> float:
    """Share of the errors within so many standard deviations; 0.683 at one and 0.954 at two where sigma is right.

    Args:
        error_in_sigmas: |ln(predicted / true)| / sigma, any shape, at least one.
        sigmas: How many.
    """
    return float(np.mean(error_in_sigmas < sigmas))


def sparsification_curve(errors: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """Mean error of the pixels that are left when those of greatest doubt are removed.

    Args:
        errors: (N,) error per pixel, N at least 1.
        doubt: (N,) what to remove by, greatest first; equals are removed in random order.

    Returns:
        (20,) mean error after removing each of :data:`REMOVED_SHARES`; the first is that of all pixels.
    """
    shuffled = np.random.default_rng(0).permutation(len(errors))
    order = shuffled[np.argsort(doubt[shuffled], kind="stable")]  # surest first
    kept = np.maximum(np.rint((1 - REMOVED_SHARES) * len(errors)).astype(int), 1)
    return np.cumsum(errors[order], dtype=np.float64)[kept - 1] / kept


def area_over_full(curve: np.ndarray) -> float:
    """Area under a sparsification curve over the area of its first value; 0/0, a perfect prediction, counts as 1."""
    if curve[0] == 0:
        return 1.0
    steps = np.diff(REMOVED_SHARES)
    area = np.sum((curve[1:] + curve[:-1]) / 2 * steps)
    return float(area / (curve[0] * steps.sum()))


def known_pixels(
    predicted_m: np.ndarray, log_depth_sigma: np.ndarray, truth_m: np.ndarray, protocol: Protocol = NYU_EIGEN
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pick the pixels that a protocol compares, with predictions clipped as it says.

    Args:
        predicted_m: (H, W) metres at the protocol's size.
        log_depth_sigma: (H, W), one standard deviation of ln(depth).
        truth_m: (H, W) metres; outside the protocol's range means unknown.
        protocol: Crop, clip and mask.

    Returns:
        Prediction, sigma and truth as (N,) float64.

    Raises:
        ValueError: A size other than the protocol's.
    """
    shapes = [plane.shape for plane in (predicted_m, log_depth_sigma, truth_m)]
    if len(set(shapes)) > 1 or not protocol.fits(*truth_m.shape):
        size = (protocol.height, protocol.width)
        raise ValueError(f"depth, sigma and truth are {shapes} and must all be {size} under {protocol.name}: resize")
    truth = protocol.compared(truth_m)
    known = protocol.known(truth)
    predicted = np.clip(protocol.compared(predicted_m)[known], *protocol.bounds_m)
    sigma = protocol.compared(log_depth_sigma)[known]
    return predicted.astype(np.float64), sigma.astype(np.float64), truth[known].astype(np.float64)


def errors_in_sigmas(predicted_m: np.ndarray, log_depth_sigma: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """|ln(predicted / true)| / sigma of each pixel; metres, all of one shape."""
    return np.abs(np.log(predicted_m / truth_m)) / log_depth_sigma


def confidence_metrics(
    predicted_m: np.ndarray, log_depth_sigma: np.ndarray, truth_m: np.ndarray, protocol: Protocol = NYU_EIGEN
) -> dict[str, float]:
    """Judge the confidence of one image; arguments as :func:`known_pixels`.

    Returns:
        :data:`CONFIDENCE_NAMES` to values. ``sparsification_*`` removes by the standard deviation of the error in
        question: sigma for relative errors, sigma times depth for errors in metres. ``farthest_*`` removes by predicted
        depth, which needs no confidence and is what a confidence has to beat. NaN where the image has no known pixel.
    """
    predicted, sigma, truth = known_pixels(predicted_m, log_depth_sigma, truth_m, protocol)
    if not len(truth):
        return dict.fromkeys(CONFIDENCE_NAMES, float("nan"))
    in_sigmas = errors_in_sigmas(predicted, sigma, truth)
    relative, squared = np.abs(predicted - truth) / truth, np.square(predicted - truth)
    values = [coverage(in_sigmas, 1), coverage(in_sigmas, 2)]
    for relative_doubt, doubt_m in ((sigma, sigma * predicted), (predicted, predicted)):
        values.append(area_over_full(sparsification_curve(relative, relative_doubt)))
        values.append(area_over_full(np.sqrt(sparsification_curve(squared, doubt_m))))
    return dict(zip(CONFIDENCE_NAMES, values, strict=True))


def fit_sigma_factor(images: Iterable[np.ndarray], share: float = ONE_SIGMA_SHARE) -> float:
    """Find the factor on sigma that puts ``share`` of the errors within one sigma, every image counting alike.

    Args:
        images: For each image (N,) :func:`errors_in_sigmas`; images without pixels do not count.
        share: Between 0 and 1.

    Raises:
        ValueError: No image has a pixel, or the errors are all zero.
    """
    places = (np.arange(QUANTILES_PER_IMAGE) + 0.5) / QUANTILES_PER_IMAGE
    each = [np.quantile(errors, places) for errors in images if len(errors)]
    if not each:
        raise ValueError("no image has a pixel of known depth: give pairs with depth")
    factor = float(np.quantile(np.concatenate(each), share))
    if factor <= 0:
        raise ValueError(f"{share:.1%} of the errors are zero, which no sigma describes: give other pairs")
    return factor
