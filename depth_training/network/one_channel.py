"""The heads' last convolutions in a form that a CPU computes in less time, for exported graphs."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

NetworkT = TypeVar("NetworkT", bound=nn.Module)
PLACES = 9  # of a 3x3 kernel
BLOCK = 16  # channels that ONNX Runtime computes at once (8 or 16): others leave its blocked layout
MOST_FILLED = 32  # input channels; with more, `frozen` with its 48, zeros would be 2 % of the network's multiply-adds


class ShiftedSum(nn.Module):
    """A 3x3 convolution onto one channel: nine products at each place, moved to where they belong, and added.

    ONNX Runtime's CPU kernels compute eight or sixteen output channels at once, wanted or not, and the plain
    convolution has all nine places of the kernel in each of them. Few input channels allow a whole block of products,
    the rest of them zero.

    Args:
        conv: With one output channel, a 3x3 kernel, padding 1 and a bias.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        assert conv.bias is not None
        channels = BLOCK if conv.in_channels <= MOST_FILLED else PLACES
        self.products = nn.Conv2d(conv.in_channels, channels, kernel_size=1, bias=False)
        self.shift = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False)
        self.sum = nn.Conv2d(channels, 1, kernel_size=1)
        with torch.no_grad():
            self.products.weight.zero_()[:PLACES] = conv.weight[0].flatten(1).T[:, :, None, None]
            self.shift.weight.zero_()[:PLACES].view(PLACES, PLACES).fill_diagonal_(1.0)
            self.sum.weight.fill_(1.0)
            self.sum.bias = nn.Parameter(conv.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution that it was made of: (B, C, h, w) to (B, 1, h, w)."""
        return self.sum(self.shift(self.products(x)))


def with_shifted_sums(network: NetworkT, least_weights: int) -> NetworkT:
    """A copy of a network with its one-channel 3x3 convolutions as :class:`ShiftedSum`.

    Args:
        network: Any; it stays as it is.
        least_weights: Convolutions of fewer weights are left alone.
    """
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and _is_one_channel(child) and child.weight.numel() >= least_weights:
                setattr(module, name, ShiftedSum(child))
    return network


def _is_one_channel(conv: nn.Conv2d) -> bool:
    shape = (conv.out_channels, conv.groups, conv.kernel_size, conv.padding, conv.stride)
    return conv.bias is not None and shape == (1, 1, (3, 3), (1, 1), (1, 1))
