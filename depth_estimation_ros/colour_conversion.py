"""Packed 8-bit pixels to RGB through the library that is there: cv_bridge on a ROS machine, rosbags-image elsewhere.

Both are handed the same thing, rows without padding and one byte per sample (colour, grey or bayer), which is what the
two agree on: padding, byte order, 16-bit samples and YUV are settled in `images`.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackedImage:
    """The fields of a sensor_msgs/Image that a converter reads; `data` is C-contiguous uint8, `step` one bare row."""

    height: int
    width: int
    encoding: str
    step: int
    data: np.ndarray
    is_bigendian: int = 0


Converter = Callable[[PackedImage], np.ndarray]


# What follows from a cv_bridge built for another NumPy, tried where it cannot take this process along.
_CHILD_TRIAL = """
import numpy, types
from cv_bridge import CvBridge
data = numpy.zeros(3, numpy.uint8)
pixel = types.SimpleNamespace(height=1, width=1, encoding="bgr8", step=3, data=data, is_bigendian=0)
CvBridge().imgmsg_to_cv2(pixel, "rgb8")
"""


def _cv_bridge() -> Converter:
    if importlib.util.find_spec("cv_bridge") is None:
        raise ImportError("it is not installed")
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        # One built for NumPy 1, as Humble's and Jazzy's are, imports well beside NumPy 2 and then segfaults.
        trial = subprocess.run([sys.executable, "-c", _CHILD_TRIAL], capture_output=True, text=True, timeout=60)
        if trial.returncode:
            reason = (trial.stderr.strip().splitlines() or [""])[-1]
            raise ImportError(
                f"it fails beside NumPy {np.__version__} with status {trial.returncode} ({reason}); "
                "if it was built for NumPy 1, install 'numpy<2'"
            )
    from cv_bridge import CvBridge

    bridge = CvBridge()
    return lambda image: bridge.imgmsg_to_cv2(image, desired_encoding="rgb8")


def _rosbags_image() -> Converter:
    from rosbags.image import image_to_cvimage

    return lambda image: image_to_cvimage(image, "rgb8")  # type: ignore[arg-type]


_MAKERS: dict[str, Callable[[], Converter]] = {"cv_bridge": _cv_bridge, "rosbags-image": _rosbags_image}


def load_converter(name: str) -> Converter:
    """Import one of "cv_bridge" and "rosbags-image" and try it on two pixels.

    An import alone proves little: cv_bridge loads its compiled half only at the first conversion.

    Raises:
        ImportError: It is not installed, or it does not convert; the text says which.
    """
    try:
        converter = _MAKERS[name]()
        two_pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
        rgb = converter(PackedImage(1, 2, "bgr8", 6, two_pixels))
    except Exception as error:
        raise ImportError(f"{name} cannot be used: {error}") from error
    if not np.array_equal(rgb, two_pixels[:, :, ::-1]):
        raise ImportError(f"{name} cannot be used: it turned two bgr8 pixels into {np.asarray(rgb).tolist()}")
    return converter


@cache
def default_converter() -> Converter:
    """Return cv_bridge where it works, else rosbags-image, chosen once per process.

    The first call may take a second; make it before the first image.

    Raises:
        ImportError: Neither works.
    """
    problems = []
    for name in _MAKERS:
        try:
            converter = load_converter(name)
        except ImportError as error:
            problems.append(str(error))
        else:
            _LOGGER.debug("colour conversion by %s", name)
            return converter
    raise ImportError(
        f"no library converts images ({'; '.join(problems)}): install ros-<distribution>-cv-bridge, "
        "or rosbags-image with pip"
    )
