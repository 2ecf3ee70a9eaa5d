"""From an RGB image to the tensor a network takes, as its contract says; training and runtime share these functions."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from depth_estimation_ros.inference.contract import InputContract

_FILTERS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def resize_image(image: npt.NDArray, size: tuple[int, int], resize_filter: str) -> npt.NDArray:
    """Resizes an image with half-pixel centres: `c' = (c + 0.5) * s - 0.5`.

    Args:
        image: (H, W) or (H, W, C), any dtype that OpenCV resizes.
        size: (h, w) of the result.
        resize_filter: "area", "linear" or "cubic". An area mean is defined for shrinking only, and OpenCV gives up
            half-pixel centres elsewhere: where a side grows, "area" means "linear".

    Returns:
        (h, w) or (h, w, C) of the image's dtype; the image itself where it has that size already.

    Raises:
        ValueError: Unknown filter.
    """
    if resize_filter not in _FILTERS:
        raise ValueError(f"resize filter {resize_filter!r} is unknown: use one of {', '.join(_FILTERS)}")
    height, width = image.shape[:2]
    if (height, width) == tuple(size):
        return image
    grows = size[0] > height or size[1] > width
    method = cv2.INTER_LINEAR if grows and resize_filter == "area" else _FILTERS[resize_filter]
    return cv2.resize(image, (size[1], size[0]), interpolation=method)


def to_network_input(image_rgb: npt.NDArray[np.uint8], contract: InputContract) -> npt.NDArray:
    """Turns an image of network size into the network's input tensor.

    The mean is subtracted and divided by the standard deviation here only where the contract says that the runtime
    normalises.

    Args:
        image_rgb: (h, w, 3) uint8, RGB.
        contract: What the network takes.

    Returns:
        (1, 3, h, w), C-contiguous, of the contract's dtype, range and colour order.

    Raises:
        ValueError: Not an (h, w, 3) uint8 image, or an empty one.
    """
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8 or not image_rgb.size:
        raise ValueError(
            f"the image has shape {image_rgb.shape} and dtype {image_rgb.dtype}: give an RGB image (h, w, 3) of uint8"
        )
    image = image_rgb if contract.colour_order == "RGB" else image_rgb[:, :, ::-1]
    # A byte has 256 values: a table per channel, made in float64, gives each its correctly rounded tensor value.
    tables = _value_of_byte(contract)  # (3, 256)
    return np.stack([table[image[:, :, channel]] for channel, table in enumerate(tables)])[np.newaxis]  # (1, 3, h, w)


def _value_of_byte(contract: InputContract) -> npt.NDArray:
    low, high = contract.range
    values = np.tile(low + np.arange(256) * (high - low) / 255.0, (3, 1))  # (3, 256)
    if contract.normalisation == "runtime":
        values = (values - np.reshape(contract.mean, (3, 1))) / np.reshape(contract.std, (3, 1))
    return values.astype(contract.dtype)
