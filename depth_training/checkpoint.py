"""PyTorch checkpoints as safetensors files with the model file's contract in their header."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from depth_estimation_ros.inference.contract import FORMAT_VERSION, InputContract, ModelContract, OutputContract
from depth_estimation_ros.inference.errors import first_line
from depth_estimation_ros.inference.model_file import CONTRACT_KEY
from depth_training.config import SIZE_MULTIPLE, DataConfig, NetworkConfig, TrainingConfig
from depth_training.files import write_whole
from depth_training.network.depth_network import DepthNetwork
from depth_training.network.ensemble import NetworkEnsemble
from depth_training.protocols import Protocol, validation_protocol

NETWORK_KEY = "depth_training.network"
Network = DepthNetwork | NetworkEnsemble
LICENCE = "Apache-2.0"
# Smaller tensors (biases, statistics) gain nothing from half precision.
LEAST_HALF_ELEMENTS = 256


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do."""


class RunError(RuntimeError):
    """A training run that cannot go on; the message says why and what is kept."""


def git_revision() -> str:
    """The revision of the code that made a model, ``unknown`` outside a checkout."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    try:
        # An installation may lie in a folder of somebody else's repository, as a virtual environment often does.
        git("ls-files", "--error-unmatch", here.name)
        return git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def shown_zooms(data: DataConfig) -> tuple[float, float]:
    """Least and greatest focal length that training shows, over the training camera's; 1 is always within."""
    zooms = [1.0]
    if data.zoom:
        zooms += [data.zoom_least, data.zoom_greatest]
    if data.shrink:
        zooms.append(data.shrink_least)
    return min(zooms), max(zooms)


def build_contract(
    config: TrainingConfig,
    validation_metrics: dict[str, float],
    protocol: Protocol | None = None,
    images: str = "validation split",
) -> ModelContract:
    """Fill in the contract of a network trained under ``config``.

    Args:
        config: The run's settings.
        validation_metrics: Metric name to value on the validation split.
        protocol: What they were measured by; None for that of images of the training camera.
        images: That they were measured on.
    """
    network, data = config.network, config.data
    blocks = "added skips, depthwise" if network.light_decoder else "concatenated skips"
    without = f", without blocks {', '.join(network.left_out_blocks)}" if network.left_out_blocks else ""
    frozen = f"frozen as in {short_name(config.init)}" if config.init else "frozen"
    protocol = protocol or validation_protocol(data.camera_height, data.camera_width)
    mean, std = DepthNetwork.input_statistics(network)
    return ModelContract(
        format_version=FORMAT_VERSION,
        name=config.name,
        encoder=f"{network.encoder} ({frozen if network.freeze_encoder else 'fine-tuned'}{without})",
        decoder=f"{blocks}, widths {'/'.join(map(str, network.widths))}, {network.head} head",
        licence=LICENCE,
        git_revision=git_revision(),
        training_data=describe_data(config),
        metrics={"protocol": protocol.describe(), "images": images, **validation_metrics} if validation_metrics else {},
        input=InputContract(
            name="image",
            layout="NCHW",
            colour_order="RGB",
            dtype="float32",
            range=(0.0, 1.0),
            normalisation="graph",
            mean=mean,
            std=std,
            resize_filter="area",
            native_height=data.native_height,
            native_width=data.native_width,
            zoom_range=shown_zooms(data),
            size_multiple=SIZE_MULTIPLE,
            size_least=64,
            size_most=1024,
        ),
        output=OutputContract(
            name="depth",
            stride=2,
            quantity="z_depth",
            unit="m",
            scale=1.0,
            offset=0.0,
            least_depth_m=network.least_depth_m,
            greatest_depth_m=network.greatest_depth_m,
            confidence_name="log_depth_sigma" if network.confidence else None,
            confidence_meaning="log_depth_sigma" if network.confidence else None,
        ),
        training_fx=data.fx * data.native_width / data.camera_width,
        training_fy=data.fy * data.native_height / data.camera_height,
    )


def short_name(path: str) -> str:
    """A file as contracts name it: with its folder, wherever that lies."""
    return "/".join(Path(path).parts[-2:])


def describe_data(config: TrainingConfig) -> str:
    """What a run learns from, as the contract of its model says it."""
    data = config.data
    replayed = f", {short_name(data.replay_pairs)} replayed" if data.replay_pairs else ""
    origin = f", from {short_name(config.init)}" if config.init else ""
    taught = f", taught by {short_name(config.loss.teacher)}" if config.loss.teacher else ""
    apart = data.test_share or (data.validation_share and not data.validation_pairs)
    part = f"{data.split} split" if apart else "all pairs"
    return f"{short_name(data.pairs)}, {part}, seed {config.optimiser.seed}{replayed}{origin}{taught}"


def save_checkpoint(network: Network, contract: ModelContract, path: Path, half: bool = False) -> Path:
    """Write a network's weights with its contract and architecture in the header.

    Args:
        network: Any mode.
        contract: Of the model that the network is.
        path: Ends in ``.safetensors``.
        half: Store large weights as float16, for a file that is kept rather than trained on.

    Returns:
        ``path``.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if is_large(tensor) else tensor for name, tensor in tensors.items()}
    header = {CONTRACT_KEY: contract.to_json(), NETWORK_KEY: json.dumps(_architecture(network))}
    write_whole(path, save(tensors, metadata=header))
    return path


def is_large(tensor: torch.Tensor) -> bool:
    """Whether half precision is worth it for a tensor: weights are, biases and BatchNorm's statistics are not."""
    return tensor.dtype == torch.float32 and tensor.ndim > 1 and tensor.numel() >= LEAST_HALF_ELEMENTS


def round_weights_to_half(network: Network) -> None:
    """Replace each large weight by the nearest float16 number, in place."""
    for tensor in network.state_dict().values():
        if is_large(tensor):
            tensor.copy_(tensor.half())


def load_checkpoint(path: Path) -> tuple[Network, ModelContract]:
    """Read a checkpoint back as a network in evaluation mode and its contract.

    Raises:
        CheckpointError: The file is missing, damaged or not one of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist: give a model.safetensors that `train` wrote")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or no safetensors file ({error}): export it again"
        ) from error
    missing = [key for key in (CONTRACT_KEY, NETWORK_KEY) if key not in header]
    if missing:
        raise CheckpointError(
            f"checkpoint {path} lacks {', '.join(missing)} in its header: give one that `train` wrote"
        )
    contract = ModelContract.from_json(header[CONTRACT_KEY], str(path))
    try:
        network = _build(json.loads(header[NETWORK_KEY]))
        network.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"checkpoint {path} is of another version of this package ({first_line(error)}): use the "
            f"revision that made it, {contract.git_revision}"
        ) from error
    return network.eval(), contract


def _architecture(network: Network) -> dict | list[dict]:
    if isinstance(network, NetworkEnsemble):
        return [dataclasses.asdict(config) for config in network.configs]
    return dataclasses.asdict(network.config)


def _build(architecture: dict | list[dict]) -> Network:
    if isinstance(architecture, list):
        return NetworkEnsemble([DepthNetwork(NetworkConfig(**each)) for each in architecture])
    return DepthNetwork(NetworkConfig(**architecture))


class NetworkBackend:
    """Runs a PyTorch network where the predictor expects a backend, so that checkpoints are judged as models are."""

    name = "torch"

    def __init__(self, network: Network, contract: ModelContract, device: str = "cpu"):
        self.network = network.to(device)
        self.device = device
        self.names = contract.output.names

    def prepare(self, height: int, width: int) -> None:
        """Do nothing: a network runs at each size as it is."""

    @torch.inference_mode()
    def __call__(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """Map a (1, 3, H, W) array to the network's outputs by name."""
        outputs = self.network(torch.from_numpy(tensor).to(self.device))
        return {name: output.cpu().numpy() for name, output in zip(self.names, outputs, strict=True)}
