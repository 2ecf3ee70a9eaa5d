"""What a virtual pinhole at the same place would see: zoom, off-centre crop and small rotations, exact in depth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.inference.preprocessing import resize_image
from depth_estimation_ros.rectification import resize_intrinsics

# Zero after the encoders' normalisation: the colour that says least where the camera saw nothing.
IMAGENET_MEAN_RGB = (124, 116, 104)


@dataclass(frozen=True)
class VirtualCamera:
    """A pinhole that shares its centre with a real one and looks at a window of the real image.

    Attributes:
        window: (top, left, height, width) of the real image, whole pixels; it may reach outside the image.
        size: (h, w) pixels of the virtual image.
        rotation_deg: (roll, pitch, yaw) about the optical axis z, x and y, applied in the order yaw, pitch, roll.
            The middle of the window stays in the middle of the virtual image.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) float64 rotation that takes points of the real camera to the virtual one."""
        roll, pitch, yaw = (math.radians(angle) for angle in self.rotation_deg)
        about_z, about_x, about_y = (
            cv2.Rodrigues(np.array(axis))[0] for axis in ((0.0, 0.0, roll), (pitch, 0.0, 0.0), (0.0, yaw, 0.0))
        )
        return about_z @ about_x @ about_y

    def matrix(self, k: np.ndarray) -> np.ndarray:
        """(3, 3) float64 intrinsics of the virtual camera.

        Args:
            k: (3, 3) float64 intrinsics of the real camera, pixels.
        """
        top, left, height, width = self.window
        f_x, f_y = k[0, 0] * self.size[1] / width, k[1, 1] * self.size[0] / height
        ray = self.rotation @ np.linalg.solve(k, [left + (width - 1) / 2, top + (height - 1) / 2, 1.0])
        c_x = (self.size[1] - 1) / 2 - f_x * ray[0] / ray[2]
        c_y = (self.size[0] - 1) / 2 - f_y * ray[1] / ray[2]
        return np.array([[f_x, 0.0, c_x], [0.0, f_y, c_y], [0.0, 0.0, 1.0]])


def choose_window(
    image_size: tuple[int, int],
    crop_size: tuple[float, float],
    zoom: float,
    place: tuple[float, float],
    border: int = 0,
) -> tuple[int, int, int, int]:
    """Place a crop in an image.

    Args:
        image_size: (H, W) pixels.
        crop_size: (height, width) in pixels of the image that zoom 1 shows. Where that is more than there is, zoom 1
            is the widest view of this shape that the image fills.
        zoom: The crop is this much smaller; below 1 it may reach outside.
        place: Where the crop lies in the free space, (row, column) in 0..1.
        border: Pixels to leave out round the image.

    Returns:
        (top, left, height, width), whole pixels.
    """
    free = [side - 2 * border for side in image_size]
    fitting = zoom * max(1.0, crop_size[0] / free[0], crop_size[1] / free[1])
    height, width = (max(1, round(side / fitting)) for side in crop_size)
    top = border + round(place[0] * (free[0] - height))
    left = border + round(place[1] * (free[1] - width))
    return top, left, height, width


def render_view(
    image: np.ndarray,
    depth: np.ndarray,
    k: np.ndarray,
    camera: VirtualCamera,
    border: int = 0,
    outside: tuple[int, int, int] = IMAGENET_MEAN_RGB,
) -> tuple[np.ndarray, np.ndarray]:
    """Render what the virtual camera sees of one image and its depth.

    A rotation changes z: a point seen along the virtual ray r at real depth z has the virtual depth z / (R^T r)_z.
    Depth is taken from the nearest pixel: a mean across an edge is a depth that nothing has.

    Args:
        image: (H, W, 3) uint8 or float32, in any order of colours.
        depth: (H, W) float32 or uint16 in any unit, z-depth of the real camera; 0 is unknown.
        k: (3, 3) float64 intrinsics of the real camera, pixels.
        camera: What to render.
        border: Pixels round the image that count as outside.
        outside: Colour of what lies outside, in the image's order of colours.

    Returns:
        image (h, w, 3) as it came; depth (h, w) in the same unit, z-depth of the virtual camera, 0 where unknown or
        outside: as it came without a rotation, float32 with one.
    """
    full_height, full_width = depth.shape
    top, left, height, width = camera.window
    inside = min(top, left) >= border and top + height <= full_height - border and left + width <= full_width - border
    if inside and not any(camera.rotation_deg):
        window, size = np.s_[top : top + height, left : left + width], camera.size[::-1]
        shown = resize_image(image[window], camera.size, "area")
        return shown, cv2.resize(depth[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    return _warp(image, depth, k, camera, border, outside)


def _warp(
    image: np.ndarray,
    depth: np.ndarray,
    k: np.ndarray,
    camera: VirtualCamera,
    border: int,
    outside: tuple[int, int, int],
) -> tuple[np.ndarray, np.ndarray]:
    to_real_ray = camera.rotation.T @ np.linalg.inv(camera.matrix(k))  # virtual pixel -> ray of the real camera
    top, left, bottom, right = _seen_box(k @ to_real_ray, camera.size, depth.shape, border)
    if top >= bottom or left >= right:
        image = np.full((*camera.size, 3), outside, image.dtype)
        return image, np.zeros(camera.size, np.float32)
    image, depth = image[top:bottom, left:right], depth[top:bottom, left:right]
    k_seen = k - [[0.0, 0.0, left], [0.0, 0.0, top], [0.0, 0.0, 0.0]]

    # Interpolation looks at two pixels per direction, so what is shown smaller is averaged first.
    steps = (max(1.0, side / shown) for side, shown in zip(camera.window[2:], camera.size, strict=True))
    height, width = (max(1, round(side / step)) for side, step in zip(depth.shape, steps, strict=True))
    if (height, width) != depth.shape:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    k_shrunk = resize_intrinsics(k_seen, depth.shape, (height, width))

    size, flags = camera.size[::-1], cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(
        image, k_shrunk @ to_real_ray, size, flags=flags | cv2.INTER_LINEAR, borderValue=outside
    )
    depth = cv2.warpPerspective(depth, k_seen @ to_real_ray, size, flags=flags | cv2.INTER_NEAREST)
    along_u, along_v, constant = to_real_ray[2]
    ray_z = along_u * np.arange(size[0]) + (along_v * np.arange(size[1]) + constant)[:, None]
    return image, (depth / ray_z).astype(np.float32)


def _seen_box(
    to_real: np.ndarray, size: tuple[int, int], image_size: tuple[int, int], border: int
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the pixels that a view needs: less to average than the whole image."""
    height, width = size
    corners = to_real @ np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]], float)
    column, row = corners[:2] / corners[2]
    # Room for what averaging and interpolation look at beyond the outermost ray.
    margin = 2 + math.ceil(2 * max(1.0, np.ptp(row) / height, np.ptp(column) / width))
    top, bottom = math.floor(row.min()) - margin, math.ceil(row.max()) + margin
    left, right = math.floor(column.min()) - margin, math.ceil(column.max()) + margin
    return (
        max(border, top),
        max(border, left),
        min(image_size[0] - border, bottom),
        min(image_size[1] - border, right),
    )
