"""Depthwise convolution whose weight gradient is fast on a CPU.

The CPU kernel for the weight gradient of a 5x5 depthwise convolution takes most of a whole training step of a
mobile network. The same gradient is itself a depthwise convolution, of the input with the output's gradient as its
kernel, one group per image and channel, and that kernel is ten times faster. For a 3x3 one PyTorch's own is the faster.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _DepthwiseConvolution(torch.autograd.Function):
    """Depthwise convolution without bias: the usual forward and input gradient, another weight gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = _input_gradient(gradient, x, weight, stride, padding)
        weight_gradient = None
        if ctx.needs_input_grad[1]:
            weight_gradient = weight_gradient_by_convolution(x, gradient, weight.shape[-1], stride, padding)
        return x_gradient, weight_gradient, None, None


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    # What torch.nn.grad.conv2d_input calls; that one forgets the input's channels-last layout, which costs a copy.
    once, none = (1, 1), (0, 0)
    steps, borders, wanted = (stride, stride), (padding, padding), (True, False, False)
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, steps, borders, once, False, none, weight.shape[0], wanted
    )
    return gradients[0]


def weight_gradient_by_convolution(x: Tensor, gradient: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Gradient of a depthwise convolution's weight.

    Args:
        x: (B, C, H, W) input of the convolution.
        gradient: (B, C, h, w) gradient of its output.
        kernel: Side of the square kernel.
        stride: Of the convolution; it becomes the dilation here.
        padding: On each side.

    Returns:
        (C, 1, kernel, kernel).
    """
    batch, channels = x.shape[:2]
    planes = x.contiguous().view(1, batch * channels, *x.shape[2:])
    kernels = gradient.contiguous().view(batch * channels, 1, *gradient.shape[2:])
    each = F.conv2d(planes, kernels, None, 1, padding, dilation=stride, groups=batch * channels)
    # Rows and columns that no stride reaches leave a surplus at the far end.
    each = each[..., :kernel, :kernel]  # (1, B*C, kernel, kernel)
    each = each.reshape(batch, channels, kernel, kernel)
    # Half precision would lose the small terms of a long sum.
    return each.to(torch.promote_types(x.dtype, torch.float32)).sum(0).unsqueeze(1).to(x.dtype)


class DepthwiseConv2d(nn.Conv2d):
    """A square depthwise convolution without bias; a plain ``nn.Conv2d`` in every respect but its training speed."""

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__(channels, channels, kernel_size, stride, padding, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        pays = self.training and self.weight.requires_grad and x.device.type == "cpu" and self.kernel_size[0] > 3
        if not pays:
            return super().forward(x)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        return cast(Tensor, _DepthwiseConvolution.apply(x, weight, self.stride[0], self.padding[0]))
