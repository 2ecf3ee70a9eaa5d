"""The whole network: RGB in, metric depth out (paper, section 2.1 and figure 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from depth_training.config import NetworkConfig
from depth_training.network.decoder import Decoder
from depth_training.network.encoders import ENCODERS, Encoder, hold_norms

Triple = tuple[float, float, float]


def _set_bias(conv: nn.Conv2d, value: float) -> None:
    assert conv.bias is not None  # both heads have one
    nn.init.constant_(conv.bias, value)


class LinearHead(nn.Module):
    """A linear 3x3 convolution that answers in metres, as in the paper's reference [1].

    Its bias starts at the mean depth of the training set, so that the first steps are not spent on finding it.
    """

    def __init__(self, in_channels: int, config: NetworkConfig):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, kernel_size=3, padding=1)
        _set_bias(self.conv, config.mean_depth_m)
        self.least_depth_m = config.least_depth_m
        self.greatest_depth_m = config.greatest_depth_m

    def forward(self, x: Tensor) -> Tensor:
        """Depth in metres, (B, 1, h, w); clamped in evaluation mode only, where a clamp costs no gradient."""
        depth_m = self.conv(x).float()
        return depth_m if self.training else depth_m.clamp(self.least_depth_m, self.greatest_depth_m)


class LogDepthHead(nn.Module):
    """A 3x3 convolution through a sigmoid onto log depth, bounded by the least and the greatest depth.

    Indoor errors are relative ones: a decimetre counts at one metre and hardly at eight.
    """

    def __init__(self, in_channels: int, config: NetworkConfig):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, kernel_size=3, padding=1)
        self.log_least = math.log(config.least_depth_m)
        self.log_range = math.log(config.greatest_depth_m) - self.log_least
        _set_bias(self.conv, self._raw_and_slope(config.mean_depth_m)[0])

    def _raw_and_slope(self, depth_m: float) -> tuple[float, float]:
        """What the convolution answers for a depth, and how log depth grows with it there."""
        share = (math.log(depth_m) - self.log_least) / self.log_range
        return math.log(share / (1 - share)), self.log_range * share * (1 - share)

    @torch.no_grad()
    def take_range_of(self, trained: LogDepthHead, depth_m: float) -> None:
        """Make weights of another head, which this one holds a copy of, mean the same near a depth under this range."""
        (before, slope_before), (now, slope_now) = (head._raw_and_slope(depth_m) for head in (trained, self))
        factor = slope_before / slope_now
        assert self.conv.bias is not None
        self.conv.weight.mul_(factor)
        self.conv.bias.sub_(before).mul_(factor).add_(now)

    @torch.no_grad()
    def stretch(self, gain: float, shift: float) -> None:
        """Multiply what the convolution answers, then add to it, in place: log depth spreads round the middle one."""
        assert self.conv.bias is not None
        self.conv.weight.mul_(gain)
        self.conv.bias.mul_(gain).add_(shift)

    def log_depth(self, raw: Tensor) -> Tensor:
        """ln(metres) that the convolution's answers mean; any shape."""
        return self.log_least + self.log_range * torch.sigmoid(raw)

    def raw(self, depth_m: Tensor) -> Tensor:
        """What the convolution answered where the depth came out, metres; any shape."""
        # Nearer to a bound than float32 can tell from it, the answer is unknown.
        return torch.logit((depth_m.log() - self.log_least) / self.log_range, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Depth in metres, (B, 1, h, w), between the least and the greatest depth."""
        raw = self.conv(x).float()  # half precision would round log depth to half a percent
        return torch.exp(self.log_depth(raw))


class ConfidenceHead(nn.Module):
    """Says how far off the depth may be, from the same features as the head, which it does not disturb.

    Features are detached: it asks nothing of them. But where gradients are clipped its own count in their norm, so that
    depth is not quite that of a network trained without.
    """

    LOG_SIGMA_RANGE = (-4.0, 1.0)  # from 2 % to a factor of 15; no image of this kind needs more
    START = 0.2

    def __init__(self, in_channels: int):
        super().__init__()
        self.mix = nn.Conv2d(in_channels, in_channels, kernel_size=1)
        self.conv = nn.Conv2d(in_channels, 1, kernel_size=3, padding=1)
        _set_bias(self.conv, math.log(self.START))

    def forward(self, x: Tensor) -> Tensor:
        """One standard deviation of ln(depth), (B, 1, h, w)."""
        raw = self.conv(torch.relu(self.mix(x.detach()))).float()
        return raw.clamp(*self.LOG_SIGMA_RANGE).exp()


HEADS: dict[str, type[nn.Module]] = {"linear": LinearHead, "log_depth": LogDepthHead}


class DepthNetwork(nn.Module):
    """Encoder, decoder and head, with the input normalisation inside.

    Args:
        config: Architecture; see :class:`depth_training.config.NetworkConfig`.
        encoder_weights: As :class:`Encoder` takes them; None when a checkpoint is loaded afterwards.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, config: NetworkConfig, encoder_weights: str | None = None):
        super().__init__()
        if config.head not in HEADS:
            raise ValueError(f"unknown head {config.head!r}: choose one of {', '.join(HEADS)}")
        self.config = config
        self.encoder = Encoder(
            config.encoder,
            encoder_weights,
            config.freeze_encoder,
            config.frozen_stages,
            config.drop_path,
            config.left_out_blocks,
        )
        self.decoder = Decoder(
            self.encoder.channels,
            config.widths,
            config.bottleneck_width,
            config.leaky_slope,
            config.decoder_batch_norm,
            config.global_context,
            config.light_decoder,
            config.bottleneck_norm,
        )
        self.head = HEADS[config.head](self.decoder.out_channels, config)
        self.confidence = ConfidenceHead(self.decoder.out_channels) if config.confidence else None
        mean, std = self.input_statistics(config)
        self.register_buffer("input_mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("input_std", torch.tensor(std).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> DepthNetwork:
        """Switch to training mode, but for what the configuration keeps still."""
        super().train(mode)
        if self.config.still_norms:
            hold_norms(self.decoder)
        return self

    @staticmethod
    def input_statistics(config: NetworkConfig) -> tuple[Triple, Triple]:
        """Mean and standard deviation per channel that the network applies to RGB in 0..1."""
        spec = ENCODERS[config.encoder]
        return (spec.mean, spec.std) if config.normalise else ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Predict depth.

        Args:
            image: (B, 3, H, W) RGB in 0..1, float.

        Returns:
            (B, 1, ceil(H/2), ceil(W/2)) z-depth in metres, for the training camera, and where the network has a
            confidence head the standard deviation of its logarithm, of the same shape.
        """
        features = self.decoder(self.encoder((image - self.input_mean) / self.input_std))
        depth_m = self.head(features)  # (B, 1, H/2, W/2) metres
        return (depth_m,) if self.confidence is None else (depth_m, self.confidence(features))
