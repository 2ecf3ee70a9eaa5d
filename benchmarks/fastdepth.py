"""A network of FastDepth's published shape, with random weights, to time against.

Wofk et al., "FastDepth: Fast Monocular Depth Estimation on Embedded Systems", ICRA 2019, before their pruning:
MobileNet encoder, five NNConv5 decoder layers with depthwise convolutions, additive skips, nearest upsampling.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

# Output channels and stride of MobileNet's thirteen depthwise-separable layers.
ENCODER = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
DECODER = (512, 256, 128, 64, 32)
# Layers whose output is added to the decoder's map of that size: 1/2, 1/4 and 1/8 of the image.
SKIPS = (0, 2, 4)


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def separable(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A depthwise convolution, then one that mixes the channels."""
    return nn.Sequential(
        convolution(in_channels, in_channels, kernel, stride, groups=in_channels),
        convolution(in_channels, out_channels, 1),
    )


class FastDepth(nn.Module):
    """RGB (B, 3, H, W) with sides that are multiples of 32, to depth (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 32, 3, stride=2)
        inputs = (32, *(channels for channels, _ in ENCODER[:-1]))
        self.encoder = nn.ModuleList(
            separable(before, after, 3, stride) for before, (after, stride) in zip(inputs, ENCODER, strict=True)
        )
        self.decoder = nn.ModuleList(
            separable(before, after, 5) for before, after in zip((1024, *DECODER[:-1]), DECODER, strict=True)
        )
        self.head = convolution(DECODER[-1], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Run the network."""
        x = self.stem(image)
        skips = {}
        for index, layer in enumerate(self.encoder):
            x = layer(x)
            if index in SKIPS:
                skips[tuple(x.shape[-2:])] = x
        for layer in self.decoder:
            x = F.interpolate(layer(x), scale_factor=2, mode="nearest")
            skip = skips.get(tuple(x.shape[-2:]))
            x = x if skip is None else x + skip
        return self.head(x)
