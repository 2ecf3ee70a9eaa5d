"""Image-classification encoders that yield one feature map per spatial scale (paper, section 2.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from depth_estimation_ros.inference.errors import first_line
from depth_training.network.efficientnet_lite import efficientnet_lite, leave_out

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE_TAPS = (1, 2, 3, 5, 7)
LITE_HALF = (0.5, 0.5, 0.5)


class EncoderWeightsError(ValueError):
    """Encoder weights that cannot be had or do not fit; the message says what to do."""


@dataclass(frozen=True)
class EncoderSpec:
    """What the decoder must know of an encoder.

    Attributes:
        build: Makes the classifier with a ``features`` sequence, given whether to load its ImageNet weights
            and the greatest probability of skipping a residual block, where it has them to skip.
        taps: Indices into ``features`` whose outputs leave the encoder, fine to coarse; the last one is the bottleneck.
        channels: Channels at each tap.
        mean: Per-channel mean of the RGB input in 0..1 that the pretrained weights expect.
        std: Per-channel standard deviation, likewise.
    """

    build: Callable[[bool, float], nn.Module]
    taps: tuple[int, ...]
    channels: tuple[int, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def _mobilenet_v2(pretrained: bool, drop_path: float) -> nn.Module:
    _refuse_drop_path("mobilenet_v2", drop_path)
    return torchvision.models.mobilenet_v2(weights="IMAGENET1K_V1" if pretrained else None)


def _refuse_drop_path(name: str, drop_path: float) -> None:
    if drop_path:
        raise ValueError(f"network.drop_path is {drop_path}, and {name} cannot skip blocks: set it to 0")


def _refuse_another_family(name: str, left_out: Sequence[str]) -> None:
    if not name.startswith("efficientnet_lite"):
        raise ValueError(f"network.left_out_blocks is {list(left_out)}, but {name} needs all its blocks: set it to []")


def _squeezenet1_0(pretrained: bool, drop_path: float) -> nn.Module:
    """SqueezeNet 1.0 with its first convolution padded by 3, and its pooling in terms that can be exported.

    torchvision leaves that convolution unpadded, which insets the whole feature grid by about 3 pixels against the
    image. Padding keeps the pretrained weights and puts every feature where the decoder's resizing assumes it to be.

    A graph with free height and width cannot round the size of a pooled map up, as ``ceil_mode`` does: a row and a
    column of zeros below and to the right, which never exceed what follows a ReLU, give the same map rounded down.
    """
    _refuse_drop_path("squeezenet1_0", drop_path)
    model = torchvision.models.squeezenet1_0(weights="IMAGENET1K_V1" if pretrained else None)
    model.features[0].padding = (3, 3)
    for index, layer in enumerate(model.features):
        if isinstance(layer, nn.MaxPool2d):
            model.features[index] = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, stride=2))
    return model


ENCODERS: dict[str, EncoderSpec] = {
    # Five stride-2 stages; taps at 1/2, 1/4, 1/8, 1/16 and the 1280-channel bottleneck at 1/32.
    "mobilenet_v2": EncoderSpec(_mobilenet_v2, (1, 3, 6, 13, 18), (16, 24, 32, 96, 1280)),
    # Four stride-2 stages; taps at 1/2, 1/4, 1/8 and the bottleneck at 1/16.
    "squeezenet1_0": EncoderSpec(_squeezenet1_0, (1, 5, 10, 12), (96, 256, 512, 512)),
    # Not in the paper. MobileNetV2's cost with a better ImageNet score, and ReLU6 throughout.
    "efficientnet_lite0": EncoderSpec(
        partial(efficientnet_lite, "tf_efficientnet_lite0"), LITE_TAPS, (16, 24, 40, 112, 320), LITE_HALF, LITE_HALF
    ),
    # Half as much computation again.
    "efficientnet_lite2": EncoderSpec(
        partial(efficientnet_lite, "tf_efficientnet_lite2"), LITE_TAPS, (16, 24, 48, 120, 352), LITE_HALF, LITE_HALF
    ),
}


def _load_weights(model: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise EncoderWeightsError(f"encoder weights {path} do not exist: give a .safetensors file, or 'imagenet'")
    try:
        incompatible = model.load_state_dict(load_file(path), strict=False)
    except (SafetensorError, RuntimeError) as error:  # no such file; tensors of another shape
        raise EncoderWeightsError(
            f"encoder weights {path} cannot be used ({first_line(error)}): give a .safetensors file "
            "of this very encoder"
        ) from error
    missing = [key for key in incompatible.missing_keys if key.startswith("features.")]
    if missing or incompatible.unexpected_keys:
        raise EncoderWeightsError(
            f"encoder weights {path} do not fit the network: {len(missing)} tensors are missing (first: {missing[:1]}) "
            f"and {len(incompatible.unexpected_keys)} are unknown (first: {incompatible.unexpected_keys[:1]}); "
            "give a file with torchvision's names for this encoder"
        )


def _build_features(name: str, weights: str | None, drop_path: float) -> nn.Sequential:
    spec = ENCODERS[name]
    if weights == "imagenet":
        try:
            return cast(nn.Sequential, spec.build(True, drop_path).features)
        except OSError as error:
            raise EncoderWeightsError(
                f"the ImageNet weights of {name} could not be downloaded ({error}): "
                "give a local .safetensors file as encoder weights instead"
            ) from error
    model = spec.build(False, drop_path)
    if weights is not None:
        _load_weights(model, Path(weights))
    return cast(nn.Sequential, model.features)


def hold_norms(module: nn.Module) -> None:
    """Let every BatchNorm within use the statistics that it has, and keep them."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


class Encoder(nn.Module):
    """A pretrained classifier without its last layer, as a feature pyramid.

    BatchNorm statistics never move, frozen or not: ``train()`` leaves every BatchNorm in evaluation mode.

    Args:
        name: A key of :data:`ENCODERS`.
        weights: ``"imagenet"`` for torchvision's download, the path of a .safetensors file with torchvision's names,
            or None for random weights (a checkpoint will be loaded over them).
        frozen: Whether all parameters stay as they are (the paper's choice).
        frozen_stages: How many of the first layers stay as they are where the rest learns.
        drop_path: Greatest probability that training skips a residual block, where not frozen.
        left_out: Residual blocks of an EfficientNet-lite to do without, as ``stage.block``.

    Raises:
        EncoderWeightsError: The weights cannot be had or do not fit.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        frozen: bool = True,
        frozen_stages: int = 0,
        drop_path: float = 0.0,
        left_out: Sequence[str] = (),
    ):
        super().__init__()
        if name not in ENCODERS:
            raise ValueError(f"unknown encoder {name!r}: choose one of {', '.join(ENCODERS)}")
        self.spec = ENCODERS[name]
        self.features = _build_features(name, weights, drop_path)[: self.spec.taps[-1] + 1]
        if left_out:
            _refuse_another_family(name, left_out)
            leave_out(self.features, left_out)
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
        self.frozen_stages = frozen_stages
        self.features[:frozen_stages].requires_grad_(False)

    @property
    def channels(self) -> Sequence[int]:
        """Channels of the feature maps, fine to coarse."""
        return self.spec.channels

    def train(self, mode: bool = True) -> Encoder:
        """Switch to training mode, with BatchNorm (and whatever is frozen) kept in evaluation mode."""
        super().train(mode and not self.frozen)
        self.features[: self.frozen_stages].eval()
        hold_norms(self)
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of a normalised (B, 3, H, W) image, fine to coarse, the last one the bottleneck."""
        taps = []
        for index, layer in enumerate(self.features):
            image = layer(image)
            if index in self.spec.taps:
                taps.append(image)
        return taps
