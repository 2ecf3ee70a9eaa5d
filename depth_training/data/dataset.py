"""Pairs as training tensors: a virtual camera's view, then the paper's augmentations (section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from depth_estimation_ros.inference.network_size import nearest_multiple
from depth_estimation_ros.inference.preprocessing import resize_image
from depth_training.config import SIZE_MULTIPLE, DataConfig
from depth_training.data.augmentation import build_augmentation
from depth_training.data.intrinsics import Intrinsics, focal_lengths_at, same_shape
from depth_training.data.pair_cache import read_ahead, read_cached_pair
from depth_training.data.pairs import Pair, depth_size, metres, read_pair
from depth_training.data.virtual_camera import IMAGENET_MEAN_RGB, VirtualCamera, choose_window, render_view


def uniform(low: float, high: float) -> float:
    """Draw one number from torch's generator, which is seeded per loader worker."""
    return low + (high - low) * torch.rand(()).item()


def source_matrix(pair: Pair, config: DataConfig, image_size: tuple[int, int]) -> np.ndarray:
    """(3, 3) intrinsics of the camera that took a pair: its own, else the configuration's at this (H, W)."""
    if pair.intrinsics is not None:
        return pair.intrinsics.matrix(image_size)
    focal_px = focal_lengths_at((config.fx, config.fy), (config.camera_height, config.camera_width), image_size)
    return Intrinsics(*focal_px).matrix(image_size)


def is_training_camera(pair: Pair, config: DataConfig) -> bool:
    """Whether the training camera took a pair.

    By its focal length, within a hundredth; where it says none, by the shape of its image.

    Raises:
        PairsError: The depth map, which is asked for that shape, cannot be read.
    """
    k = pair.intrinsics
    if k is None:
        return same_shape(depth_size(pair), (config.camera_height, config.camera_width))
    return math.isclose(k.fx, config.fx, rel_tol=0.01) and math.isclose(k.fy, config.fy, rel_tol=0.01)


def training_focal(config: DataConfig) -> tuple[float, float]:
    """(fx, fy) of the training camera in pixels at network resolution: every target is told in its terms."""
    return (
        config.fx * config.native_width / config.camera_width,
        config.fy * config.native_height / config.camera_height,
    )


def canonical_factor(k_virtual: np.ndarray, config: DataConfig) -> float:
    """What a depth seen at another focal length is multiplied by to be told in the training camera's terms.

    A longer lens shows a scene as the training camera would a nearer one: the runtime's correction, in reverse.
    """
    fx, fy = training_focal(config)
    return math.sqrt(fx * fy / (k_virtual[0, 0] * k_virtual[1, 1]))


def canonical_crop(k: np.ndarray, config: DataConfig, size: tuple[int, int]) -> tuple[float, float]:
    """(height, width) in source pixels of a view of ``size`` (h, w) at the training camera's focal length."""
    fx, fy = training_focal(config)
    return size[0] * k[1, 1] / fy, size[1] * k[0, 0] / fx


def canonical_view(
    image_bgr: np.ndarray,
    depth_mm: np.ndarray,
    k: np.ndarray,
    camera: VirtualCamera,
    config: DataConfig,
    border: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Render a stored pair as (h, w, 3) uint8 RGB and (h, w) float32 metres in the training camera's terms.

    ``border`` pixels round the image count as outside.
    """
    view_bgr, view_mm = render_view(image_bgr, depth_mm, k, camera, border, IMAGENET_MEAN_RGB[::-1])
    factor = np.float32(canonical_factor(camera.matrix(k), config))
    return cv2.cvtColor(view_bgr, cv2.COLOR_BGR2RGB), metres(view_mm) * factor


def without_border(depth: np.ndarray, border: int) -> np.ndarray:
    """A copy of an (H, W) depth map that is unknown (0) within so many pixels of its sides."""
    inner = np.zeros_like(depth)
    inside = np.s_[border : depth.shape[0] - border, border : depth.shape[1] - border]
    inner[inside] = depth[inside]
    return inner


def view_size(config: DataConfig, aspect: float | None) -> tuple[int, int]:
    """(h, w) of a training view: the configured one, or of as many pixels in another aspect ratio (width / height)."""
    if aspect is None:
        return config.height, config.width
    pixels = config.height * config.width
    height, width = (
        nearest_multiple(side, SIZE_MULTIPLE) for side in ((pixels / aspect) ** 0.5, (pixels * aspect) ** 0.5)
    )
    return height, width


class TrainingPairs(Dataset):
    """Augmented training crops: image (3, h, w) uint8 RGB, depth (1, h, w) float32 metres, 0 unknown."""

    def __init__(self, pairs: Sequence[Pair], config: DataConfig):
        self.pairs = list(pairs)
        self.config = config
        self.augmentation = build_augmentation(config)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, items: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """The pairs of one batch, as the loader asks for them."""
        self.read_ahead(items)
        return [self[item] for item in items]

    def read_ahead(self, items: Iterable[int]) -> None:
        """Say what will be read next; see :func:`depth_training.data.pair_cache.read_ahead`."""
        read_ahead((self.pairs[item] for item in items), self.config.cache)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        """A pair as :meth:`view` shows it at the configured size."""
        return self.view(item)

    def view(self, item: int, aspect: float | None = None) -> tuple[Tensor, Tensor]:
        """Read, crop and augment one pair with torch's random numbers.

        Args:
            item: Which pair.
            aspect: Width over height of what is shown, with as many pixels as the configuration says; None for its
                shape. A shape that the image does not have is the largest part of it, as seen by a longer lens.
        """
        pair, config = self.pairs[item], self.config
        image_bgr, depth_mm = read_cached_pair(pair, config.cache)
        k = source_matrix(pair, config, depth_mm.shape)
        border = self.draw_border()
        if border < config.border:
            depth_mm = without_border(depth_mm, config.border)
        camera = self.draw_camera(k, depth_mm.shape, border, aspect)
        image_rgb, depth_m = canonical_view(image_bgr, depth_mm, k, camera, config, border)
        image = tv_tensors.Image(torch.from_numpy(image_rgb).permute(2, 0, 1))
        depth = tv_tensors.Mask(torch.from_numpy(depth_m)[None])
        image, depth = self.augmentation(image, depth)
        return image.as_subclass(Tensor).contiguous(), self.dequantise(depth.as_subclass(Tensor))

    def draw_border(self) -> int:
        """Draw how many pixels round the image to leave out: the configuration's, or none."""
        config = self.config
        # As with turns: nothing is drawn where none is asked for.
        return 0 if config.border_shown and torch.rand(()).item() < config.border_shown else config.border

    def draw_camera(
        self, k: np.ndarray, image_size: tuple[int, int], border: int, aspect: float | None = None
    ) -> VirtualCamera:
        """Draw what to show of an image of (H, W) pixels within a border, with torch's random numbers."""
        config = self.config
        zoomed = torch.rand(()).item() < config.zoom
        zoom = uniform(config.zoom_least, config.zoom_greatest) if zoomed else 1.0
        size = view_size(config, aspect)
        place = (uniform(0, 1), uniform(0, 1))
        window = choose_window(image_size, canonical_crop(k, config, size), zoom, place, border)
        return VirtualCamera(window, size, self.draw_turn())

    def draw_turn(self) -> tuple[float, float, float]:
        """Draw roll, pitch and yaw in degrees; zeros where the virtual camera is not turned."""
        config = self.config
        # Nothing is drawn where none is asked for: a run without turns repeats the random numbers it always had.
        if not (config.rotation_deg or config.tilt_deg) or torch.rand(()).item() >= config.turn:
            return 0.0, 0.0, 0.0
        roll = uniform(-config.rotation_deg, config.rotation_deg)
        return roll, uniform(-config.tilt_deg, config.tilt_deg), uniform(-config.tilt_deg, config.tilt_deg)

    def dequantise(self, depth_m: Tensor) -> Tensor:
        """Hide the steps of stored depth under noise; unknown stays unknown."""
        if not self.config.dequantise_m:
            return depth_m
        noise = (2 * torch.rand_like(depth_m) - 1) * self.config.dequantise_m
        return torch.where(depth_m > 0, (depth_m + noise).clamp(min=1e-3), depth_m)


class FullPairs(Dataset):
    """Whole images at native size with whole depth maps, for validation: no augmentation.

    Yields image (3, native_height, native_width) uint8 RGB and depth (1, camera_height, camera_width) float32 metres.
    A camera other than the training camera is shown at the training focal length, or as near as its image fills, cut
    to the middle, with its depth in the training camera's terms: as the runtime chooses the network's size.
    """

    def __init__(self, pairs: Sequence[Pair], config: DataConfig):
        self.pairs = list(pairs)
        self.config = config

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        """Read one pair and resize its image."""
        pair, config = self.pairs[item], self.config
        image_rgb, depth_m = read_pair(pair)
        k = source_matrix(pair, config, depth_m.shape)
        native = (config.native_height, config.native_width)
        top, left, height, width = choose_window(depth_m.shape, canonical_crop(k, config, native), 1.0, (0.5, 0.5))
        seen = np.s_[top : top + height, left : left + width]
        image_rgb = resize_image(image_rgb[seen], native, "area")
        if (height, width) != (config.camera_height, config.camera_width):
            size = (config.camera_width, config.camera_height)
            depth_m = cv2.resize(depth_m[seen], size, interpolation=cv2.INTER_NEAREST_EXACT)
        else:
            depth_m = np.ascontiguousarray(depth_m[seen])
        depth_m *= np.float32(canonical_factor(VirtualCamera((top, left, height, width), native).matrix(k), config))
        return torch.from_numpy(image_rgb).permute(2, 0, 1), torch.from_numpy(depth_m)[None]
