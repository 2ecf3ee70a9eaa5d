"""Starting from a trained network: its weights, architecture and training camera hold, whatever the settings say.

But settings may leave out blocks that it has, and let depth reach farther.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from depth_estimation_ros.inference.contract import ModelContract
from depth_training.checkpoint import load_checkpoint
from depth_training.config import ConfigError, DataConfig, NetworkConfig, TrainingConfig, load_config
from depth_training.data.dataset import training_focal
from depth_training.network.depth_network import DepthNetwork, LogDepthHead
from depth_training.network.ensemble import NetworkEnsemble

BUNDLED = Path(__file__).parent / "models"
# What training does with the layers; nearly everything else of the network is in its weights.
FREE_KEYS = ("freeze_encoder", "frozen_stages", "drop_path", "still_norms")


def find_checkpoint(name: str, option: str = "--init") -> Path:
    """The file of a bundled name, such as ``default``, or of a path.

    Args:
        name: Either.
        option: That it was given as, for the message.

    Raises:
        ConfigError: It is neither.
    """
    path, bundled = Path(name), BUNDLED / f"{name}.safetensors"
    if path.is_file() or bundled.is_file():
        return path if path.is_file() else bundled
    names = ", ".join(sorted(file.stem for file in BUNDLED.glob("*.safetensors")))
    raise ConfigError(f"{option} {name} is neither a bundled checkpoint ({names}) nor a .safetensors file: give one")


def resolve_config(preset: Path | None, overrides: list[str], init: str) -> TrainingConfig:
    """Settings of a run that starts from a checkpoint: the network and the training camera are the checkpoint's.

    Args:
        preset: As :func:`load_config` takes it.
        overrides: Likewise.
        init: Bundled name or path.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigError: Preset or overrides want another network or another training camera.
    """
    network, contract = load_checkpoint(find_checkpoint(init))
    if isinstance(network, NetworkEnsemble):
        raise ConfigError(f"{init} is an ensemble of {len(network.members)} networks: give --init one of its members")
    base = TrainingConfig(init=init, network=network.config, data=training_camera(contract))
    config = load_config(preset, overrides, base)
    # A run's config.yaml, taken as a preset, names its own; a path is to hold in other folders, too.
    config.init = str(Path(init).resolve()) if Path(init).is_file() else init
    _refuse_another_network(network.config, config.network, init)
    _refuse_another_camera(contract, config.data, init)
    return config


def training_camera(contract: ModelContract) -> DataConfig:
    """Settings of the data whose camera a network answers in terms of; NYU Depth V2's where its contract says none."""
    data = DataConfig(native_height=contract.input.native_height, native_width=contract.input.native_width)
    data.camera_height = round(data.camera_width * data.native_height / data.native_width)
    if contract.training_fx and contract.training_fy:
        data.fx = contract.training_fx * data.camera_width / data.native_width
        data.fy = contract.training_fy * data.camera_height / data.native_height
    return data


def _refuse_another_network(has: NetworkConfig, asked: NetworkConfig, init: str) -> None:
    before, now = dataclasses.asdict(has), dataclasses.asdict(asked)
    free = list(FREE_KEYS)
    if set(has.left_out_blocks) <= set(asked.left_out_blocks):
        free.append("left_out_blocks")
    if has.greatest_depth_m <= asked.greatest_depth_m:
        free.append("greatest_depth_m")
    changed = [key for key in before if before[key] != now[key] and key not in free]
    if changed:
        raise ConfigError(
            f"{', '.join(f'network.{key}={now[key]}' for key in changed)} contradicts the checkpoint {init}, which has "
            f"{', '.join(str(before[key]) for key in changed)}: leave it out, or train without --init"
        )


def shares_focal_lengths(contract: ModelContract, data: DataConfig) -> bool:
    """Whether a network is of a run's training camera; what its contract does not say contradicts nothing."""
    trained = (contract.training_fx, contract.training_fy)
    pairs = zip(trained, training_focal(data), strict=True)
    return all(has is None or math.isclose(has, asked, rel_tol=1e-3) for has, asked in pairs)


def _refuse_another_camera(contract: ModelContract, data: DataConfig, init: str) -> None:
    size = (contract.input.native_height, contract.input.native_width)
    if (data.native_height, data.native_width) != size or not shares_focal_lengths(contract, data):
        raise ConfigError(
            f"the training camera of {init} has {size[1]}x{size[0]} pixels and focal lengths "
            f"{(contract.training_fx, contract.training_fy)}, the settings ask for {data.native_width}x"
            f"{data.native_height} and {training_focal(data)}: leave data.native_height, "
            "data.native_width, data.fx and data.fy out; another camera's focal length belongs to its pairs (fx, fy)"
        )


def load_weights(network: DepthNetwork, init: str) -> None:
    """Give a network the weights of a checkpoint, in place.

    The checkpoint's architecture is the network's, but that it may have more blocks and a lesser greatest depth.
    """
    trained = load_checkpoint(find_checkpoint(init))[0]
    assert isinstance(trained, DepthNetwork)  # resolve_config refuses ensembles
    state = trained.state_dict()
    network.load_state_dict({name: state[name] for name in network.state_dict() if name in state})
    wider = network.config.greatest_depth_m != trained.config.greatest_depth_m
    if wider and isinstance(network.head, LogDepthHead) and isinstance(trained.head, LogDepthHead):
        network.head.take_range_of(trained.head, network.config.mean_depth_m)
