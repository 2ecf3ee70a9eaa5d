"""Makes one model of several."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from depth_estimation_ros.inference.contract import ModelContract
from depth_training.checkpoint import CheckpointError, git_revision, load_checkpoint, save_checkpoint
from depth_training.network.ensemble import NetworkEnsemble


def join_checkpoints(checkpoints: Sequence[Path], output: Path) -> Path:
    """Write a checkpoint that answers with the mean of several networks' log depth.

    Args:
        checkpoints: Two or more, of single networks for the same camera and with the same input and output.
        output: Ends in ``.safetensors``; its name becomes the model's.

    Raises:
        CheckpointError: Fewer than two, or they do not go together.
    """
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
    return save_checkpoint(NetworkEnsemble(networks), _joined(contracts, output.stem), output)


def _common(contract: ModelContract) -> tuple:
    given = dataclasses.replace(contract.input, zoom_range=(1.0, 1.0))
    return given, contract.output, contract.training_fx, contract.training_fy


def _joined(contracts: Sequence[ModelContract], name: str) -> ModelContract:
    lows, highs = zip(*(contract.input.zoom_range for contract in contracts), strict=True)
    return dataclasses.replace(
        contracts[0],
        name=name,
        encoder=_counted(contract.encoder for contract in contracts),
        decoder=_counted(contract.decoder for contract in contracts),
        training_data=_counted(contract.training_data for contract in contracts),
        git_revision=git_revision(),
        metrics={},  # nobody has measured it yet
        input=dataclasses.replace(contracts[0].input, zoom_range=(max(lows), min(highs))),
    )


def _counted(texts: Iterable[str]) -> str:
    return "; ".join(f"{count} x {text}" if count > 1 else text for text, count in Counter(texts).items())
