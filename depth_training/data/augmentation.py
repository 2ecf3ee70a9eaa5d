"""What varies a view's colours and sides (paper, section 2.2 and 3.4)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from depth_training.config import DataConfig


class MeanGrayscale(v2.Transform):
    """Replace the colours by the mean of R, G and B (paper, section 3.4; not the luma that libraries use)."""

    def transform(self, inpt: Tensor, params: dict) -> Tensor:
        """Average the channels of an image; a depth map stays as it is."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        return tv_tensors.wrap(inpt.float().mean(dim=-3, keepdim=True).to(inpt.dtype).expand_as(inpt), like=inpt)


def shift_hue(image: Tensor, turns: float) -> Tensor:
    """Turn the hue of an image, as torchvision's ``adjust_hue`` does within one level, in a tenth of the time.

    Args:
        image: (3, H, W) uint8 RGB.
        turns: Share of a full turn, -0.5 to 0.5.

    Returns:
        (3, H, W) uint8 RGB, a view of channels-last memory.
    """
    rgb = np.ascontiguousarray(image.permute(1, 2, 0).numpy()) * np.float32(1 / 255)
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)  # hue in degrees
    hue = hsv[..., 0]
    np.add(hue, np.float32(turns * 360), out=hue)
    hue[hue >= 360] -= 360
    hue[hue < 0] += 360
    # torchvision maps 1.0 to just under 256 and cuts off.
    shifted = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * np.float32(255.999)
    return torch.from_numpy(np.clip(shifted, 0, 255, out=shifted).astype(np.uint8)).permute(2, 0, 1)


class ColourJitter(v2.ColorJitter):
    """torchvision's ColorJitter with the same random numbers, the hue apart, which took most of the loader's time."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Vary an image's colours in the drawn order; a depth map stays as it is."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        steps = (
            (F.adjust_brightness, params["brightness_factor"]),
            (F.adjust_contrast, params["contrast_factor"]),
            (F.adjust_saturation, params["saturation_factor"]),
            (shift_hue, params["hue_factor"]),
        )
        image = inpt.as_subclass(Tensor)
        for number in params["fn_idx"]:
            vary, factor = steps[int(number)]
            if factor is not None:
                image = vary(image, factor)
        return tv_tensors.wrap(image, like=inpt)


def build_augmentation(config: DataConfig) -> v2.Transform:
    """Compose the augmentations that act on (image, depth) together or on the image's colours alone."""
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(config.flip)]
    if config.jitter:
        strength = config.jitter
        steps.append(ColourJitter(brightness=strength, contrast=strength, saturation=strength, hue=strength / 10))
    steps.append(v2.RandomApply([v2.RandomChannelPermutation()], p=config.channel_swap))
    steps.append(v2.RandomApply([MeanGrayscale()], p=config.grayscale))
    return v2.Compose(steps)
