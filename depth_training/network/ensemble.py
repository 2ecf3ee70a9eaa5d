"""Several networks that answer as one: more accurate than any of them, and surer of how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depth_training.network.depth_network import DepthNetwork


class NetworkEnsemble(nn.Module):
    """The mean of several networks' log depth.

    Where all members have a confidence, the variance of log depth is the mean of theirs and what they disagree by (the
    law of total variance).

    Args:
        members: Two or more, for the same training camera and the same native size.
    """

    sigma_factor: Tensor

    def __init__(self, members: Sequence[DepthNetwork]):
        super().__init__()
        self.configs = [member.config for member in members]
        self.members = nn.ModuleList(members)
        self.has_confidence = all(member.confidence is not None for member in members)
        self.register_buffer("sigma_factor", torch.ones(()))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Predict depth, and where there is a confidence its sigma, as :meth:`DepthNetwork.forward` does."""
        answers = [member(image) for member in self.members]
        log_depths = torch.stack([answer[0].log() for answer in answers])  # (members, B, 1, h, w)
        depth_m = log_depths.mean(0).exp()
        if not self.has_confidence:
            return (depth_m,)
        sigmas = torch.stack([answer[1] for answer in answers])
        variance = sigmas.square().mean(0) + log_depths.var(0, correction=0)
        return depth_m, variance.sqrt() * self.sigma_factor
