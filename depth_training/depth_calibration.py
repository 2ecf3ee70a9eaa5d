"""Fits the spread and the middle of a network's log depth to pairs, and folds the fit into its last convolution."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from depth_estimation_ros.inference.contract import ModelContract
from depth_training.checkpoint import Network, load_checkpoint, save_checkpoint
from depth_training.confidence_calibration import CalibrationError
from depth_training.data.dataset import FullPairs
from depth_training.data.pairs import Pair
from depth_training.initialisation import training_camera
from depth_training.network.depth_network import DepthNetwork, LogDepthHead

MOST_ROUNDS = 30
PIXEL_STEP = 4  # what lies between tells the same; all pixels of a thousand images take minutes


@dataclass(frozen=True)
class Stretch:
    """What was fitted.

    Attributes:
        gain: Factor on what the last convolution answers: above 1 far is told farther and near nearer.
        shift: Added to it then.
        error_before: Mean |ln(predicted / true)| over all known pixels.
        error: The same afterwards.
    """

    gain: float
    shift: float
    error_before: float
    error: float


def calibrate_depth(checkpoint: Path, pairs: Sequence[Pair], output: Path) -> Stretch:
    """Write a checkpoint whose log depth is stretched and shifted to the least mean error on ``pairs``.

    A network that learns from harder views than it is asked about, or is an average of its own past, tells too little
    of far and near. Two numbers cannot overfit: pairs that it was trained on will do, though they ask for less than
    others would.

    Args:
        checkpoint: A single network with a log-depth head.
        pairs: Shown whole, as they are. Those without focal lengths of their own are taken for the training camera's.
        output: Ends in ``.safetensors``. Its contract has no metrics: they were another depth's.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        CalibrationError: No such head, or no known depth.
    """
    network, contract = load_checkpoint(checkpoint)
    head = _log_depth_head(network, checkpoint)
    raw, truth_m = _answers_and_truths(network, head, contract, pairs)
    stretch = fit_stretch(head, raw, truth_m)
    head.stretch(stretch.gain, stretch.shift)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(network, dataclasses.replace(contract, metrics={}), output)
    return stretch


def _log_depth_head(network: Network, checkpoint: Path) -> LogDepthHead:
    if not isinstance(network, DepthNetwork):
        raise CalibrationError(f"{checkpoint} is an ensemble: calibrate its members, then join them again")
    if not isinstance(network.head, LogDepthHead):
        raise CalibrationError(
            f"{checkpoint} has a {network.config.head} head, whose depth has no bounds to stretch within: "
            "train one with network.head=log_depth"
        )
    return network.head


@torch.inference_mode()
def _answers_and_truths(
    network: Network, head: LogDepthHead, contract: ModelContract, pairs: Sequence[Pair]
) -> tuple[Tensor, Tensor]:
    """What the last convolution answers, and the metres it should mean: both (N, h, w), pixels of the output's grid.

    Truth is told in the training camera's terms, 0 where unknown.
    """
    answers, truths = [], []
    dataset = FullPairs(pairs, training_camera(contract))
    for item in track(range(len(dataset)), "looking at pairs"):
        image, truth_m = dataset[item]
        depth_m = network(image[None] / 255)[0]  # (1, 1, h, w) metres
        truth_m = F.interpolate(truth_m[None], depth_m.shape[-2:], mode="nearest-exact")
        raw, truth_m = (plane[0, 0, ::PIXEL_STEP, ::PIXEL_STEP].clone() for plane in (head.raw(depth_m), truth_m))
        answers.append(raw)
        truths.append(truth_m)
    return torch.stack(answers), torch.stack(truths)


def fit_stretch(head: LogDepthHead, raw: Tensor, truth_m: Tensor) -> Stretch:
    """Find the gain and the shift on a head's raw answers that leave the least mean error in log depth.

    Args:
        head: Gives raw answers their meaning.
        raw: Any shape.
        truth_m: Metres, of the same shape, 0 where unknown.

    Raises:
        CalibrationError: Nothing is known.
    """
    known = truth_m > 0
    if not known.any():
        raise CalibrationError("no pixel of the pairs has a known depth: give pairs with depth")
    raw, log_truth = raw[known], truth_m[known].log()
    gain_and_shift = torch.tensor([1.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([gain_and_shift], max_iter=MOST_ROUNDS, line_search_fn="strong_wolfe")

    def error() -> Tensor:
        gain, shift = gain_and_shift
        return (head.log_depth(gain * raw + shift) - log_truth).abs().mean()

    def closure() -> float:
        optimiser.zero_grad()
        loss = error()
        loss.backward()
        return loss.item()

    with torch.inference_mode(False), torch.enable_grad():
        before = error().item()
        optimiser.step(closure)
        gain, shift = gain_and_shift.tolist()
        return Stretch(gain, shift, before, error().item())
