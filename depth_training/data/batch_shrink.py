"""A batch seen as by a wider lens: at fewer pixels, whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from depth_estimation_ros.inference.network_size import nearest_multiple
from depth_training.config import SIZE_MULTIPLE


def shrink_batch(image: Tensor, depth_m: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Show a batch at fewer pixels, its depth in the training camera's terms.

    Fewer pixels across the same rays are a shorter focal length, and a wide lens shows a scene as the training camera
    would a farther one: depth grows as the size shrinks.

    Args:
        image: (B, 3, H, W) uint8.
        depth_m: (B, 1, H, W) float32 metres, 0 unknown.
        share: Of each side, above 0 and at most 1; rounded to sides that the network takes.

    Returns:
        (B, 3, h, w) uint8 and (B, 1, h, w) float32 metres.
    """
    height, width = image.shape[-2:]
    size = [nearest_multiple(side * share, SIZE_MULTIPLE) for side in (height, width)]
    smaller = F.interpolate(image.float(), size=size, mode="bilinear", antialias=True).round().to(image.dtype)
    return smaller, shrink_depth(depth_m, size)


def shrink_depth(depth_m: Tensor, size: Sequence[int]) -> Tensor:
    """Depth of (B, 1, H, W) as a lens sees it that shows the same at (h, w), in the training camera's terms."""
    nearest_m = F.interpolate(depth_m, size=list(size), mode="nearest-exact")
    return nearest_m * math.sqrt(math.prod(depth_m.shape[-2:]) / math.prod(size))
