"""Fits a confidence to images that were held apart from training, and folds the fit into the network."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from depth_estimation_ros.inference.contract import ModelContract
from depth_estimation_ros.inference.predictor import Predictor
from depth_training.checkpoint import Network, NetworkBackend, describe_data, load_checkpoint, save_checkpoint
from depth_training.confidence import ONE_SIGMA_SHARE, errors_in_sigmas, fit_sigma_factor, known_pixels
from depth_training.config import load_config
from depth_training.data.pairs import Pair, read_image, read_pair
from depth_training.data.splits import training_and_validation_pairs
from depth_training.evaluation import Camera, camera_of, predict_at_image_size
from depth_training.network.depth_network import ConfidenceHead
from depth_training.network.ensemble import NetworkEnsemble
from depth_training.protocols import validation_protocol
from depth_training.run_images import refuse_changed_images, warn_of_learnt

TOLERANCE = 0.01  # a factor nearer to 1 than this moves the coverage by less than half a percent
MOST_ROUNDS = 4

logger = logging.getLogger(__name__)


class CalibrationError(ValueError):
    """A confidence that cannot be calibrated; the message says why and what to do."""


def held_apart_pairs(checkpoint: Path) -> list[Pair]:
    """List the pairs that a run held apart from training, from the ``config.yaml`` beside its checkpoint.

    Raises:
        ConfigError: Not the settings of a run.
        PairsError: The run's pairs are not there.
        CheckpointError: The checkpoint cannot be used.
        CalibrationError: No such file, the checkpoint is not that run's, or the run held none apart.
        RunError: The pairs file has changed since, so that others would be held apart now.
    """
    config_file = checkpoint.parent / "config.yaml"
    if not config_file.is_file():
        raise CalibrationError(f"{config_file} does not exist, to say what the run held apart: give --pairs")
    config = load_config(config_file, [])
    apart = training_and_validation_pairs(config.data, config.optimiser.seed)[1]
    if not apart:
        raise CalibrationError(f"the run of {config_file} held no pairs apart (data.validation_share=0): give --pairs")
    learnt = load_checkpoint(checkpoint)[1].training_data
    if learnt != describe_data(config):  # of several runs' networks each may have learnt what another held apart
        raise CalibrationError(
            f"{checkpoint} was trained on {learnt}, {config_file} says {describe_data(config)}: it is not that run's, "
            "or of an earlier version, so what it never saw is not known; give --pairs"
        )
    refuse_changed_images(config_file.parent, {"validation": apart}, "give others by --pairs")
    if learnt_before := warn_of_learnt(config, {"validation": apart}):
        logger.warning("%s", learnt_before)
    return apart


def scale_sigma(network: Network, factor: float) -> None:
    """Multiply a network's sigma by ``factor``, in place: an ensemble's own factor, or the confidence head's bias.

    Where a head's sigma stands at an end of :data:`ConfidenceHead.LOG_SIGMA_RANGE` it stays there or moves less.

    Raises:
        CalibrationError: The network has no confidence.
    """
    if isinstance(network, NetworkEnsemble):
        if not network.has_confidence:
            raise CalibrationError("this ensemble has no confidence: every member needs one (network.confidence=true)")
        network.sigma_factor *= factor
        return
    head = network.confidence
    if head is None:
        raise CalibrationError("this network has no confidence: train one with network.confidence=true")
    assert head.conv.bias is not None
    with torch.no_grad():
        head.conv.bias += math.log(factor)


def calibrate_checkpoint(checkpoint: Path, pairs: Sequence[Pair], camera: Camera, output: Path) -> float:
    """Write a checkpoint whose sigma holds 68.3 % of the errors on ``pairs``, every image counting alike.

    The bounds of sigma make this not quite a matter of one factor: it is measured again after each change.

    Args:
        checkpoint: With a confidence.
        pairs: Held apart from training; on training images the errors are too small. Those of the training set's size
            are compared within its crop, others whole.
        camera: That took them.
        output: Ends in ``.safetensors``. Depth is that of ``checkpoint``; only the confidence changes.

    Returns:
        The whole factor on sigma. The contract's metrics, where there are any, record it as ``sigma_factor``.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        CalibrationError: It has no confidence, or the bounds of sigma leave no fit.
    """
    network, contract, predictor = _open(checkpoint)
    whole = 1.0
    for _ in range(MOST_ROUNDS):
        factor = fit_sigma_factor(_errors(predictor, pairs, camera))
        if abs(factor - 1) < TOLERANCE:
            break
        scale_sigma(network, factor)
        whole *= factor
        logger.info("sigma x %.3f on %d images", whole, len(pairs))
    else:
        low, high = (math.exp(bound) for bound in ConfidenceHead.LOG_SIGMA_RANGE)
        raise CalibrationError(
            f"no factor up to {whole:.3g} puts {ONE_SIGMA_SHARE:.1%} of the errors within one sigma, which lies "
            f"between {low:.3f} and {high:.2f}: check that {checkpoint} and the pairs belong together"
        )
    _save(network, contract, whole, output)
    return whole


def rescale_checkpoint(checkpoint: Path, factor: float, output: Path) -> None:
    """Write a checkpoint whose sigma is ``factor`` times as large; arguments and errors as `calibrate_checkpoint`."""
    network, contract = load_checkpoint(checkpoint)
    scale_sigma(network, factor)
    _save(network, contract, factor, output)


def match_checkpoint(checkpoint: Path, like: Path, pairs: Sequence[Pair], camera: Camera, output: Path) -> float:
    """Write a checkpoint whose sigma has the level, the mean of ln(sigma), of another network's on the same images.

    For a network that has learnt all pairs, of which none can say how far off it is elsewhere.

    Args:
        checkpoint: With a confidence.
        like: Calibrated, of a like run that held pairs apart.
        pairs: Images that both have learnt; their depth is not looked at.
        camera: That took them.
        output: As for :func:`calibrate_checkpoint`.

    Returns:
        The factor on sigma.

    Raises:
        CheckpointError: One of the two cannot be used.
        CalibrationError: One of the two has no confidence, or there are no images.
    """
    if not pairs:
        raise CalibrationError("there is no image to compare the two confidences on: give other pairs")
    network, contract, here = _open(checkpoint)
    there = _open(like)[2]
    differences = []
    for pair in pairs:
        image_rgb = read_image(pair.image)
        at = camera_of(pair, camera, image_rgb.shape)
        wanted, given = (_predict(predictor, image_rgb, at)[1] for predictor in (there, here))
        differences.append(np.log(wanted / given).mean())
    factor = math.exp(np.mean(differences))
    scale_sigma(network, factor)
    _save(network, contract, factor, output)
    return factor


def _open(checkpoint: Path) -> tuple[Network, ModelContract, Predictor]:
    network, contract = load_checkpoint(checkpoint)
    scale_sigma(network, 1.0)  # says at once where there is no confidence
    return network, contract, Predictor(contract, NetworkBackend(network, contract))


def _predict(predictor: Predictor, image_rgb: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    predicted = predict_at_image_size(predictor, image_rgb, camera)
    assert predicted.log_depth_sigma is not None  # `_open` has seen to it
    return predicted.depth_m, predicted.log_depth_sigma


def _save(network: Network, contract: ModelContract, factor: float, output: Path) -> None:
    # The confidence that was measured is another one's from here on; depth stays.
    metrics = {name: value for name, value in contract.metrics.items() if name != "confidence"}
    if metrics:  # an empty one says that nobody measured
        metrics = {**metrics, "sigma_factor": factor * metrics.get("sigma_factor", 1.0)}
    output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(network, dataclasses.replace(contract, metrics=metrics), output)


def _errors(predictor: Predictor, pairs: Sequence[Pair], camera: Camera) -> Iterator[np.ndarray]:
    for pair in pairs:
        image_rgb, truth_m = read_pair(pair)
        depth_m, log_depth_sigma = _predict(predictor, image_rgb, camera_of(pair, camera, truth_m.shape))
        height, width = truth_m.shape
        yield errors_in_sigmas(*known_pixels(depth_m, log_depth_sigma, truth_m, validation_protocol(height, width)))
