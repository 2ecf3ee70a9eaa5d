"""The decoder: upsample, concatenate the skip connection, convolve (paper, sections 2.1.2 and 2.1.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_training.network.depthwise import DepthwiseConv2d


def initialise_convolution(module: nn.Module) -> None:
    """Draw a convolution's weights as Glorot does (the default where the paper's reference [1] was written).

    PyTorch's own default shrinks the signal to 0.58 of it per layer; nine layers without BatchNorm would leave nothing.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class DecoderBlock(nn.Module):
    """One step up in resolution.

    "x2" is done as "to the size of the skip connection", so that an image of any size runs without padding.
    The paper applies its LeakyReLU after the second convolution only; the slope 0.2 is that of its reference [1].
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        leaky_slope: float = 0.2,
        batch_norm: bool = False,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels + skip_channels, out_channels, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.activation = nn.LeakyReLU(leaky_slope)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge a (B, C, h, w) map with the (B, S, H, W) skip connection into (B, out, H, W)."""
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, skip], dim=1)
        return self.activation(self.norm2(self.conv2(self.norm1(self.conv1(x)))))


class LightBlock(nn.Module):
    """One step up in resolution at a tenth of the cost: the skip connection is added, and a 5x5 kernel per channel.

    Not in the paper. Channels are mixed at the coarse size, where a pixel is cheap.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.project: nn.Module = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.project_skip: nn.Module = nn.Conv2d(skip_channels, out_channels, kernel_size=1, bias=False)
        self.norm1: nn.Module = nn.BatchNorm2d(out_channels)
        self.depthwise = DepthwiseConv2d(out_channels, kernel_size=5, padding=2)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.pointwise = nn.Conv2d(out_channels, out_channels, kernel_size=1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge a (B, C, h, w) map with the (B, S, H, W) skip connection into (B, out, H, W)."""
        x = F.interpolate(self.project(x), size=skip.shape[-2:], mode="bilinear", align_corners=False)
        x = self.activation(self.norm1(x + self.project_skip(skip)))
        x = self.activation(self.norm2(self.depthwise(x)))
        return self.activation(self.norm3(self.pointwise(x)))


class GlobalContext(nn.Module):
    """Adds what the whole image says to every place of the bottleneck: the size of a room is seen at no single place.

    Dropout keeps the few hundred rooms of a small training set from being learnt by heart.
    """

    def __init__(self, channels: int, dropout: float = 0.3):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Add a (B, C, 1, 1) summary to a (B, C, h, w) map."""
        return x + self.linear(self.dropout(x.mean((2, 3), keepdim=True)))


def _reduce(channels: int, width: int | None, norm: bool) -> nn.Module:
    if not width:
        return nn.Identity()
    conv = nn.Conv2d(channels, width, kernel_size=1, bias=not norm)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)) if norm else conv


class Decoder(nn.Module):
    """As many blocks as the encoder has skip connections, coarse to fine.

    Args:
        encoder_channels: Channels of the encoder's maps, fine to coarse, the last one the bottleneck.
        widths: Output channels of each block, coarse to fine; one per skip connection.
        bottleneck_width: Channels that a 1x1 convolution reduces the bottleneck to before the first block; None for
            no such convolution (the paper's text has none, its reference [1] has one).
        bottleneck_norm: BatchNorm and ReLU after that convolution, which is linear without.
        leaky_slope: Negative slope of the LeakyReLU.
        batch_norm: BatchNorm after every convolution of the blocks; the paper and its reference [1] have none.
        global_context: Add a summary of the whole image at the bottleneck; the paper has none.
        light: Blocks of :class:`LightBlock` in place of the paper's.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        widths: Sequence[int],
        bottleneck_width: int | None = None,
        leaky_slope: float = 0.2,
        batch_norm: bool = False,
        global_context: bool = False,
        light: bool = False,
        bottleneck_norm: bool = False,
    ):
        super().__init__()
        *skips, bottleneck = encoder_channels
        if len(widths) != len(skips):
            raise ValueError(
                f"the decoder has {len(widths)} widths {list(widths)} but the encoder has {len(skips)} skip "
                "connections: give one width per skip connection, coarse to fine"
            )
        self.reduce = _reduce(bottleneck, bottleneck_width, bottleneck_norm)
        inputs = [bottleneck_width or bottleneck, *widths[:-1]]
        self.context = GlobalContext(inputs[0]) if global_context else nn.Identity()
        self.blocks = nn.ModuleList(
            LightBlock(in_channels, skip_channels, width)
            if light
            else DecoderBlock(in_channels, skip_channels, width, leaky_slope, batch_norm)
            for in_channels, skip_channels, width in zip(inputs, reversed(skips), widths, strict=True)
        )
        self.out_channels = widths[-1]
        self.apply(initialise_convolution)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Decode feature maps, fine to coarse, into (B, out_channels, H/2, W/2)."""
        *skips, x = features
        x = self.context(self.reduce(x))
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return x
