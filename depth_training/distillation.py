"""A trained network, an ensemble above all, as a second teacher beside the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_training.checkpoint import load_checkpoint
from depth_training.config import ConfigError, DataConfig
from depth_training.data.dataset import training_focal
from depth_training.initialisation import find_checkpoint, shares_focal_lengths


class Teacher:
    """Answers what a training batch is to be told beside its truth: dense, smooth and the same for like rooms.

    No module of the network that learns: it is neither saved, averaged nor trained with it.

    Args:
        checkpoint: Bundled name or .safetensors file.
        data: Of the run; the teacher's depth is in its own training camera's terms, which must be the same.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigError: There is none, or it is of another training camera.
    """

    def __init__(self, checkpoint: str, data: DataConfig):
        self.network, contract = load_checkpoint(find_checkpoint(checkpoint, "loss.teacher"))
        if contract.training_focal_px is None or not shares_focal_lengths(contract, data):
            raise ConfigError(
                f"loss.teacher={checkpoint} was trained for focal lengths "
                f"{(contract.training_fx, contract.training_fy)} at its size, and this run is for "
                f"{training_focal(data)}: give a teacher of the same training camera and native size"
            )
        self.network.requires_grad_(False).to(memory_format=torch.channels_last)

    def to(self, device: torch.device) -> None:
        """Go where the network that learns is."""
        self.network.to(device)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Depth of (B, 3, H, W) RGB in 0..1: (B, 1, H/2, W/2) metres."""
        return self.network(image)[0].float()
