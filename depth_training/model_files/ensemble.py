"""Makes one model of several."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from depth_estimation_ros.inference.contract import ModelContract
from depth_training.checkpoint import CheckpointError, git_revision, load_checkpoint, save_checkpoint
from depth_training.network.depth_network import DepthNetwork
from depth_training.network.ensemble import NetworkEnsemble

NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def join_checkpoints(checkpoints: Sequence[Path], output: Path) -> Path:
    """Write a checkpoint that answers with the mean of several networks' log depth.

    Args:
        checkpoints: Two or more, of single networks for the same camera and with the same input and output.
        output: Ends in ``.safetensors``; its name becomes the model's.

    Raises:
        CheckpointError: Fewer than two, or they do not go together.
    """
    networks, contracts = _load_alike(checkpoints, output)
    return save_checkpoint(NetworkEnsemble(networks), _joined(contracts, output.stem), output)


def average_checkpoints(checkpoints: Sequence[Path], output: Path) -> Path:
    """Write one network whose weights are the mean of several, of which the others are continuations of the first.

    Networks that went on from one another lie in one valley of the loss, and the middle of it answers better on images
    that none of them saw than either end; of networks that were trained apart the mean is worth nothing.

    Args:
        checkpoints: As for :func:`join_checkpoints`, and of one architecture.
        output: Likewise. The name stays the first one's.

    Raises:
        CheckpointError: Fewer than two, or they do not go together.
    """
    networks, contracts = _load_alike(checkpoints, output)
    states = [network.state_dict() for network in networks]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    statistics = [(contract.input.mean, contract.input.std) for contract in contracts]
    for path, *each in zip(checkpoints, shapes, statistics, strict=True):
        if each != [shapes[0], statistics[0]]:
            raise CheckpointError(f"{path} and {checkpoints[0]} are not of one architecture: join them by `ensemble`")
    mean = {
        name: torch.stack([state[name].float() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
    networks[0].load_state_dict(mean)
    contract = dataclasses.replace(
        _joined(contracts, contracts[0].name),
        encoder=contracts[0].encoder,
        decoder=contracts[0].decoder,
        training_data=f"mean of the weights of {len(contracts)}: {_counted(c.training_data for c in contracts)}",
    )
    return save_checkpoint(networks[0], contract, output)


def _load_alike(checkpoints: Sequence[Path], output: Path) -> tuple[Sequence[DepthNetwork], Sequence[ModelContract]]:
    if len(checkpoints) < 2 or output.suffix != ".safetensors":
        raise CheckpointError(
            f"{len(checkpoints)} checkpoints into {output}: give two or more, and a name that ends in .safetensors"
        )
    networks, contracts = zip(*(load_checkpoint(path) for path in checkpoints), strict=True)
    for path, network, contract in zip(checkpoints, networks, contracts, strict=True):
        if isinstance(network, NetworkEnsemble):
            raise CheckpointError(f"{path} is an ensemble already: give its members")
        if _common(contract) != _common(contracts[0]):
            raise CheckpointError(
                f"{path} and {checkpoints[0]} differ in input, output or training camera, so that their depth has no "
                "mean: compare the two with `info`"
            )
    output.parent.mkdir(parents=True, exist_ok=True)
    return networks, contracts


def _common(contract: ModelContract) -> tuple:
    given = dataclasses.replace(contract.input, zoom_range=(1.0, 1.0))
    if given.normalisation == "graph":  # then each network has its own
        given = dataclasses.replace(given, mean=NO_MEAN, std=NO_STD)
    return given, contract.output, contract.training_fx, contract.training_fy


def _joined(contracts: Sequence[ModelContract], name: str) -> ModelContract:
    lows, highs = zip(*(contract.input.zoom_range for contract in contracts), strict=True)
    statistics = {(contract.input.mean, contract.input.std) for contract in contracts}
    mean, std = statistics.pop() if len(statistics) == 1 else (NO_MEAN, NO_STD)
    return dataclasses.replace(
        contracts[0],
        name=name,
        encoder=_counted(contract.encoder for contract in contracts),
        decoder=_counted(contract.decoder for contract in contracts),
        training_data=_counted(contract.training_data for contract in contracts),
        git_revision=git_revision(),
        metrics={},  # nobody has measured it yet
        input=dataclasses.replace(contracts[0].input, zoom_range=(max(lows), min(highs)), mean=mean, std=std),
    )


def _counted(texts: Iterable[str]) -> str:
    return "; ".join(f"{count} x {text}" if count > 1 else text for text, count in Counter(texts).items())
