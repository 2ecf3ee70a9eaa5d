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


def tilted_camera_crop(
    image_rgb: np.ndarray,
    depth_m: np.ndarray,
    config: DataConfig,
    zoom: float,
    place: tuple[float, float],
    angles_deg: tuple[float, float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Render what :func:`virtual_camera_crop` cuts out from a camera that is also turned about its own centre.

    A turn changes the depth of every point but needs no new view: points keep their rays (REP 103 optical frame).

    Args:
        image_rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 metres.
        config: Crop, native and camera sizes.
        zoom: As there.
        place: As there.
        angles_deg: Pitch, yaw and roll in degrees.

    Returns:
        As there; depth is 0, unknown, where the turned camera looks past the image.
    """
    full_height, full_width = depth_m.shape
    scale_x = config.native_width / full_width * zoom
    scale_y = config.native_height / full_height * zoom
    fx, fy = config.fx * full_width / config.camera_width, config.fy * full_height / config.camera_height
    inside = np.s_[config.border : full_height - config.border, config.border : full_width - config.border]
    image_rgb, depth_m = image_rgb[inside], depth_m[inside]
    full_height, full_width = depth_m.shape
    top = place[0] * max(full_height - config.height / scale_y, 0)
    left = place[1] * max(full_width - config.width / scale_x, 0)
    centre_x, centre_y = (full_width - 1) / 2, (full_height - 1) / 2
    k_full = np.array([[fx, 0, centre_x], [0, fy, centre_y], [0, 0, 1]])
    k_crop = np.array(
        [
            [fx * scale_x, 0, (centre_x - left + 0.5) * scale_x - 0.5],
            [0, fy * scale_y, (centre_y - top + 0.5) * scale_y - 0.5],
            [0, 0, 1],
        ]
    )
    pitch, yaw, roll = (
        cv2.Rodrigues(np.radians(angle) * axis)[0] for angle, axis in zip(angles_deg, np.eye(3), strict=True)
    )
    turn = roll @ pitch @ yaw
    to_full = k_full @ turn @ np.linalg.inv(k_crop)  # crop pixel -> full pixel
    # Shrunk to the crop's scale first: a warp that shrinks aliases.
    small = cv2.resize(image_rgb, None, fx=min(scale_x, 1.0), fy=min(scale_y, 1.0), interpolation=cv2.INTER_AREA)
    ratio_x, ratio_y = small.shape[1] / full_width, small.shape[0] / full_height
    shrink = np.array([[ratio_x, 0, ratio_x / 2 - 0.5], [0, ratio_y, ratio_y / 2 - 0.5], [0, 0, 1]])
    size, inverse = (config.width, config.height), cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(
        small, shrink @ to_full, size, flags=cv2.INTER_LINEAR | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    depth = cv2.warpPerspective(depth_m, to_full, size, flags=cv2.INTER_NEAREST | inverse)
    x = (np.arange(config.width) - k_crop[0, 2]) / k_crop[0, 0]
    y = (np.arange(config.height) - k_crop[1, 2]) / k_crop[1, 1]
    forward = turn[2, 0] * x + turn[2, 1] * y[:, None] + turn[2, 2]  # z of each crop ray in the full camera
    return image, (depth / forward / zoom).astype(np.float32)


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
        place = uniform(0, 1), uniform(0, 1)
        if torch.rand(()).item() < config.turn:
            tilt, roll = config.tilt_deg, config.rotation_deg
            angles_deg = uniform(-tilt, tilt), uniform(-tilt, tilt), uniform(-roll, roll)
            image_rgb, depth_m = tilted_camera_crop(image_rgb, depth_m, config, zoom, place, angles_deg)
        else:
            image_rgb, depth_m = virtual_camera_crop(image_rgb, depth_m, config, zoom, place)
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
