"""The light decoder's first BatchNorm in a form that costs nothing at run time, for exported graphs."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from depth_training.network.decoder import LightBlock

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def with_split_norms(network: NetworkT) -> NetworkT:
    """A copy of a network whose light blocks normalise the two maps that they add, in place of their sum.

    A runtime folds BatchNorm into the convolution before it, but not through an addition and an upsampling. Both are
    linear, so that either map may have the factor of its own, and the skip connection's the shift.

    Args:
        network: Any, in evaluation mode; it stays as it is.
    """
    network = copy.deepcopy(network)
    for block in network.modules():
        if isinstance(block, LightBlock):
            whole, factor = block.norm1, copy.deepcopy(block.norm1)
            assert isinstance(factor, nn.BatchNorm2d)
            assert factor.running_mean is not None
            with torch.no_grad():
                factor.running_mean.zero_()
                factor.bias.zero_()
            block.project = nn.Sequential(block.project, factor)
            block.project_skip = nn.Sequential(block.project_skip, whole)
            block.norm1 = nn.Identity()
    return network
