"""Pairs as training tensors: a virtual camera's crop, then the paper's augmentations (section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from depth_training.config import DataConfig
from depth_training.data.pairs import Pair, read_pair


class MeanGrayscale(v2.Transform):
    """Replace the colours by the mean of R, G and B (paper, section 3.4; not the luma that libraries use)."""

    def transform(self, inpt: Tensor, params: dict) -> Tensor:
        """Average the channels of an image; a depth map stays as it is."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        return tv_tensors.wrap(inpt.float().mean(dim=-3, keepdim=True).to(inpt.dtype).expand_as(inpt), like=inpt)


def build_augmentation(config: DataConfig) -> v2.Transform:
    """Compose the augmentations that act on (image, depth) together or on the image's colours alone."""
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(config.flip)]
    if config.jitter:
        strength = config.jitter
        steps.append(v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength, hue=strength / 10))
    steps.append(v2.RandomApply([v2.RandomChannelPermutation()], p=config.channel_swap))
    steps.append(v2.RandomApply([MeanGrayscale()], p=config.grayscale))
    return v2.Compose(steps)


def uniform(low: float, high: float) -> float:
    """Draw one number from torch's generator, which is seeded per loader worker."""
    return low + (high - low) * torch.rand(()).item()


def virtual_camera_crop(
    image_rgb: np.ndarray, depth_m: np.ndarray, config: DataConfig, zoom: float, place: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Cut out what a camera with a ``zoom`` times longer lens would see, in the training camera's terms.

    A zoomed image looks like the training camera's view of a scene ``zoom`` times nearer, so the depth is divided by
    the zoom: the same correction, in reverse, that the runtime applies for other cameras.

    Args:
        image_rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 metres.
        config: Crop and native sizes.
        zoom: At least 1; the crop is ``zoom`` times smaller before it is resized.
        place: Where the crop lies in the free space, (row, column) in 0..1.

    Returns:
        image (height, width, 3) uint8 and depth (height, width) float32 metres.
    """
    full_height, full_width = depth_m.shape
    crop_height = min(round(config.height * full_height / config.native_height / zoom), full_height - 2 * config.border)
    crop_width = min(round(config.width * full_width / config.native_width / zoom), full_width - 2 * config.border)
    top = config.border + round(place[0] * (full_height - 2 * config.border - crop_height))
    left = config.border + round(place[1] * (full_width - 2 * config.border - crop_width))
    window = np.s_[top : top + crop_height, left : left + crop_width]
    size = (config.width, config.height)
    image = cv2.resize(image_rgb[window], size, interpolation=cv2.INTER_AREA)
    # Nearest keeps unknown pixels and edges as they are: a mean across an edge is a depth that nothing has.
    depth = cv2.resize(depth_m[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    return image, depth / zoom


class TrainingPairs(Dataset):
    """Augmented training crops: image (3, h, w) uint8 RGB, depth (1, h, w) float32 metres, 0 unknown."""

    def __init__(self, pairs: Sequence[Pair], config: DataConfig):
        self.pairs = list(pairs)
        self.config = config
        self.augmentation = build_augmentation(config)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        """Read, crop and augment one pair with torch's random numbers."""
        config = self.config
        image_rgb, depth_m = read_pair(self.pairs[item])
        zoomed = torch.rand(()).item() < config.zoom
        zoom = uniform(config.zoom_least, config.zoom_greatest) if zoomed else 1.0
        image_rgb, depth_m = virtual_camera_crop(image_rgb, depth_m, config, zoom, (uniform(0, 1), uniform(0, 1)))
        image = tv_tensors.Image(torch.from_numpy(image_rgb).permute(2, 0, 1))
        depth = tv_tensors.Mask(torch.from_numpy(depth_m)[None])
        image, depth = self.augmentation(image, depth)
        return image.as_subclass(Tensor).contiguous(), self._dequantise(depth.as_subclass(Tensor))

    def _dequantise(self, depth_m: Tensor) -> Tensor:
        noise = (2 * torch.rand_like(depth_m) - 1) * self.config.dequantise_m
        return torch.where(depth_m > 0, (depth_m + noise).clamp(min=1e-3), depth_m)


class FullPairs(Dataset):
    """Whole images at native size with whole depth maps, for validation: no crop, no augmentation.

    Yields image (3, native_height, native_width) uint8 RGB and depth (1, H, W) float32 metres at full size.
    """

    def __init__(self, pairs: Sequence[Pair], config: DataConfig):
        self.pairs = list(pairs)
        self.size = (config.native_width, config.native_height)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        """Read one pair and resize its image."""
        image_rgb, depth_m = read_pair(self.pairs[item])
        image_rgb = cv2.resize(image_rgb, self.size, interpolation=cv2.INTER_AREA)
        return torch.from_numpy(image_rgb).permute(2, 0, 1), torch.from_numpy(depth_m)[None]
