"""From a distorted camera image straight to the rectified network image: where each network pixel is sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

COEFFICIENT_COUNTS = {
    "plumb_bob": (4, 5, 8, 12, 14),
    "rational_polynomial": (4, 5, 8, 12, 14),
    "equidistant": (4,),
}
"""How many D terms each distortion model takes. OpenCV tells the polynomial models apart by their length alone."""

UNDISTORTED_MODELS = ("", "none")
"""Names under which simulators publish a pinhole; then D must be empty or zero."""


def distortion_problem(distortion_model: str, d: np.ndarray) -> str | None:
    """Say in one sentence why this distortion cannot be undone; None if it can."""
    if not np.all(np.isfinite(d)):
        return f"CameraInfo.d holds {d.tolist()}, which is not finite: calibrate the camera again"
    if distortion_model in UNDISTORTED_MODELS:
        if np.any(d):
            return f"CameraInfo names no distortion_model, but d is not zero: set it to one of {_known_models()}"
        return None
    counts = COEFFICIENT_COUNTS.get(distortion_model)
    if counts is None:
        return (
            f"distortion model {distortion_model!r} is unknown: use one of {_known_models()}, or give a rectified "
            "image and set input_rectified to true"
        )
    if len(d) not in counts and not (len(d) == 0 and distortion_model != "equidistant"):
        return (
            f"distortion model {distortion_model!r} takes {' or '.join(map(str, counts))} terms, but CameraInfo.d has "
            f"{len(d)}: correct the calibration file"
        )
    return None


def _known_models() -> str:
    return ", ".join(COEFFICIENT_COUNTS)


def is_distorted(distortion_model: str, d: np.ndarray) -> bool:
    """Say whether the raw image differs from a pinhole's. An equidistant lens does even with all four terms zero."""
    return distortion_model == "equidistant" or bool(np.any(d))


def focal_of_view(width: int, hfov_deg: float) -> float:
    """Focal length in pixels of a pinhole that sees ``hfov_deg`` degrees across an image of ``width`` pixels."""
    return width / 2 / math.tan(math.radians(hfov_deg) / 2)


def resize_intrinsics(k: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Intrinsics after a resize of (H, W) to (h, w): `c' = (c + 0.5) s - 0.5`, pixel centres at whole numbers.

    Args:
        k: (3, 3) or (3, 4) float64, pixels of the image of `from_size`.
        from_size: (H, W) pixels.
        to_size: (h, w) pixels.
    """
    s_y, s_x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    resized = k.astype(np.float64, copy=True)
    resized[0] *= s_x
    resized[1] *= s_y
    resized[0, 2] = (k[0, 2] + 0.5) * s_x - 0.5
    resized[1, 2] = (k[1, 2] + 0.5) * s_y - 0.5
    return resized


def area_size(image_size: tuple[int, int], shrink: tuple[float, float]) -> tuple[int, int]:
    """Size (H', W') that INTER_AREA brings an image to before it is interpolated at `shrink` (vertical, horizontal).

    Interpolation looks at two pixels per direction, so it aliases once it steps over more than two. The least whole
    factor goes first that leaves it a step of two at most; a larger one would only blur.
    """
    height, width = (
        max(1, side // math.ceil(step / 2)) if step > 2 else side for side, step in zip(image_size, shrink, strict=True)
    )
    return height, width


@dataclass(frozen=True, eq=False)
class RectificationMaps:
    """Where each pixel of the network image lies in the camera image.

    Attributes:
        source_size: (H', W') the camera image is shrunk to by INTER_AREA first; its own size where that is not needed.
        map_x: (h, w) float32 column in the image of `source_size`.
        map_y: (h, w) float32 row in it.
        valid_mask: (h, w) bool, True where the camera saw something: inside the image, and before the lens
            polynomial's turning point.
    """

    source_size: tuple[int, int]
    map_x: np.ndarray
    map_y: np.ndarray
    valid_mask: np.ndarray

    def resample(self, source: np.ndarray) -> np.ndarray:
        """Sample an image (H', W') or (H', W', C) of uint8 or float32 bilinearly into (h, w).

        Outside the image the border is repeated: a black rim would be an edge that the network reads as a wall.
        Depth there is invented all the same, hence `valid_mask`.
        """
        return cv2.remap(source, self.map_x, self.map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def rectification_maps(
    k: np.ndarray,
    d: np.ndarray,
    r: np.ndarray,
    distortion_model: str,
    image_size: tuple[int, int],
    k_network: np.ndarray,
    network_size: tuple[int, int],
) -> RectificationMaps:
    """Build the maps for one camera, once.

    Args:
        k: (3, 3) float64 intrinsics of the distorted image, pixels of `image_size`.
        d: (n,) float64 distortion terms without a `distortion_problem`.
        r: (3, 3) float64 rotation from the camera to the rectified camera.
        distortion_model: A key of `COEFFICIENT_COUNTS`, or one of `UNDISTORTED_MODELS`.
        image_size: (H, W) pixels of the camera image.
        k_network: (3, 3) float64 intrinsics of the rectified network image.
        network_size: (h, w) pixels.
    """
    # The ratio of the focal lengths is the shrink in the middle of the picture, rectification's own zoom included.
    source_size = area_size(image_size, (k[1, 1] / k_network[1, 1], k[0, 0] / k_network[0, 0]))
    k_source = resize_intrinsics(k, image_size, source_size)
    build = cv2.fisheye.initUndistortRectifyMap if distortion_model == "equidistant" else cv2.initUndistortRectifyMap
    # OpenCV takes certain counts of terms, and without distortion there may be any.
    terms = d if is_distorted(distortion_model, d) else np.zeros(4)
    map_x, map_y = build(k_source, terms, r, k_network, network_size[::-1], cv2.CV_32FC1)
    height, width = source_size
    inside = (map_x >= -0.5) & (map_x <= width - 0.5) & (map_y >= -0.5) & (map_y <= height - 0.5)
    radius = _ray_radius(k_network, r, network_size)
    seen = inside & (radius < _turning_radius(d, distortion_model, radius))
    return RectificationMaps(source_size, map_x, map_y, seen)


def _ray_radius(k_network: np.ndarray, r: np.ndarray, network_size: tuple[int, int]) -> np.ndarray:
    """(h, w) float64 distance from the optical axis in the plane z = 1 of the camera; infinite behind the camera."""
    v, u = np.indices(network_size, np.float64)
    rectified_rays = np.stack([(u - k_network[0, 2]) / k_network[0, 0], (v - k_network[1, 2]) / k_network[1, 1]], -1)
    x, y, z = np.moveaxis(rectified_rays @ r[:2] + r[2], -1, 0)  # row vectors, so this is the inverse rotation
    return np.where(z > 0, np.hypot(x, y) / np.maximum(z, 1e-9), np.inf)


def _turning_radius(d: np.ndarray, distortion_model: str, ray_radius: np.ndarray) -> float:
    """Radius in the plane z = 1 from which the lens polynomial no longer opens outward; infinite without one.

    A polynomial was fitted to what the lens shows. Past its turning point it leads back into the picture, and a
    rectified image that reaches so far would show the same things twice.
    """
    if not is_distorted(distortion_model, d):
        return math.inf
    greatest = np.max(ray_radius, where=np.isfinite(ray_radius), initial=0.0)
    radius = np.tan(np.linspace(0, math.atan(greatest), 1024))
    directions = np.arange(8)[:, np.newaxis] * (math.pi / 4)  # tangential terms make it differ around the axis
    rays = np.stack([np.cos(directions) * radius, np.sin(directions) * radius, np.ones((8, radius.size))], -1)
    project = cv2.fisheye.projectPoints if distortion_model == "equidistant" else cv2.projectPoints
    distorted, _ = project(rays.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), np.eye(3), d)
    distorted = distorted.reshape(8, radius.size, 2)
    distance = np.linalg.norm(distorted - distorted[:, :1], axis=-1)  # (8, 1024) from the distorted axis
    closing = np.diff(distance, axis=1).min(axis=0) <= 0
    return float(radius[np.argmax(closing)]) if closing.any() else math.inf
