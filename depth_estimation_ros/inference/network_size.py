"""Chooses the size at which a camera's images enter the network."""

from __future__ import annotations

import logging
import math

import numpy as np

from depth_estimation_ros.inference.contract import InputContract, ModelContract

#: Times the native pixel count: float32 depth of a 320x240 network then stays under the half megabyte at which stock
#: Fast DDS starts to lose best-effort messages.
DEFAULT_BUDGET = 1.5

_logger = logging.getLogger(__name__)


def choose_network_size(
    contract: ModelContract, height: int, width: int, focal_px: float | None, max_pixels: int | None
) -> tuple[int, int]:
    """Chooses (h, w) with the camera's aspect ratio: nothing is stretched or padded beyond rounding to the multiple.

    Of all sizes that the contract's size rule and the pixel budget allow, the one is taken that deviates least, scale
    and aspect ratio counted alike as logarithms, from the ideal: the native number of pixels, where the camera's focal
    length is then one that training has shown (the contract's zoom range), or where a focal length is unknown; else the
    size at which it is the nearest that training has shown, since a network judges distance by apparent size. Between
    equals the smaller one.

    A graph of one fixed size leaves no choice: that size is returned, with a logged warning where it stretches.

    Args:
        contract: The model's contract.
        height: The camera image's height in pixels.
        width: Its width.
        focal_px: Its (rectified) focal length in camera pixels, None where unknown.
        max_pixels: Most network pixels; None means `DEFAULT_BUDGET` times the native number.

    Raises:
        ValueError: A size, focal length or budget that is not above 0, or no size that keeps all the rules.
    """
    if min(height, width) < 1:
        raise ValueError(f"the camera image is {width}x{height} pixels: both sides must be at least 1")
    if focal_px is not None and not (math.isfinite(focal_px) and focal_px > 0):
        raise ValueError(f"the focal length is {focal_px} pixels: give a number above 0, or None where it is unknown")
    given = contract.input
    if given.fixed_size is not None:
        _warn_of_stretching(given.fixed_size, height, width)
        return given.fixed_size

    native_pixels = given.native_height * given.native_width
    scale = math.sqrt(native_pixels / (height * width))  # network pixels per camera pixel
    if focal_px is not None and contract.training_focal_px is not None:
        zoom = focal_px * scale / contract.training_focal_px
        least, greatest = given.zoom_range
        scale *= min(max(zoom, least), greatest) / zoom
    budget = int(DEFAULT_BUDGET * native_pixels) if max_pixels is None else max_pixels

    sizes = _allowed_sizes(given, height, width, budget)  # (N, 2)
    if not len(sizes):
        raise ValueError(
            f"no network size keeps the aspect ratio of a {width}x{height} image with sides of {given.size_least} to "
            f"{given.size_most} pixels, multiples of {given.size_multiple}, and at most {budget} pixels in all: raise "
            "max_network_pixels or crop the image"
        )
    log_h, log_w = np.log(sizes / (height * scale, width * scale)).T
    deviation = np.abs(log_h + log_w) / 2 + np.abs(log_w - log_h)  # of the scale, of the aspect ratio
    best = np.lexsort((sizes.prod(axis=1), deviation.round(9)))[0]
    return int(sizes[best, 0]), int(sizes[best, 1])


def nearest_multiple(side: float, multiple: int) -> int:
    """The multiple, at least one of it, that lies nearest to a side."""
    return max(round(side / multiple), 1) * multiple


def _allowed_sizes(given: InputContract, height: int, width: int, budget: int) -> np.ndarray:
    """All (h, w) of the camera's aspect ratio, one side rounded to the multiple, that keep bounds and budget."""
    multiple = given.size_multiple
    sides = np.arange(math.ceil(given.size_least / multiple), given.size_most // multiple + 1) * multiple
    by_height = np.stack([sides, np.rint(sides * (width / height) / multiple) * multiple], axis=1)
    by_width = np.stack([np.rint(sides * (height / width) / multiple) * multiple, sides], axis=1)
    sizes = np.concatenate([by_height, by_width])
    keeps_bounds = (sizes >= given.size_least) & (sizes <= given.size_most)
    return sizes[keeps_bounds.all(axis=1) & (sizes.prod(axis=1) <= budget)].astype(np.int64)


def _warn_of_stretching(fixed_size: tuple[int, int], height: int, width: int) -> None:
    h, w = fixed_size
    if abs(math.log((w / h) / (width / height))) > 0.01:
        _logger.warning(
            "the model takes %dx%d pixels only, so %dx%d images are stretched: expect less accurate depth, or export "
            "the model with free height and width",
            w,
            h,
            width,
            height,
        )
