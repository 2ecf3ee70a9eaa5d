"""Whether an exported file answers as its checkpoint does, at the sizes that cameras bring."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.inference import InferenceError, ModelContract, Predictor
from depth_estimation_ros.inference.network_size import nearest_multiple
from depth_training.evaluation import open_model
from depth_training.export import ExportError, export_checkpoint

#: Greatest relative difference of depth (and of sigma) at any pixel with which an export is still kept.
BOUND = 0.02
ASPECTS = {"16:9": (9, 16), "square": (1, 1), "portrait": (4, 3)}


@dataclass(frozen=True)
class SizeParity:
    """How far two models lie apart at one input size.

    Attributes:
        name: What the size stands for.
        height: Of the input, pixels.
        width: Likewise.
        greatest: Greatest relative difference over all pixels, images and outputs.
        percentile99: The 99th percentile of depth's.
    """

    name: str
    height: int
    width: int
    greatest: float
    percentile99: float


def parity_sizes(contract: ModelContract) -> dict[str, tuple[int, int]]:
    """The sizes (h, w) to compare at: native, other aspect ratios of as many pixels, and odd sides.

    Odd sides are no multiple of anything: a graph that rounds them otherwise than PyTorch shows it there.
    """
    given = contract.input
    pixels = given.native_height * given.native_width
    sizes = {"native": (given.native_height, given.native_width)}
    for name, (rows, columns) in ASPECTS.items():
        scale = max((pixels / (rows * columns)) ** 0.5, given.size_least / min(rows, columns))
        sizes[name] = (
            nearest_multiple(rows * scale, given.size_multiple),
            nearest_multiple(columns * scale, given.size_multiple),
        )
    sizes["odd"] = (given.native_height - 1, given.native_width - 3)
    within = {}
    for name, size in sizes.items():
        if given.size_least <= min(size) and max(size) <= given.size_most:
            within[name] = size
    return within


def probe_images(height: int, width: int, count: int = 2) -> list[np.ndarray]:
    """Images with structure at every scale: sums of noise from 2x2 blocks to single pixels, (h, w, 3) uint8."""
    random = np.random.default_rng(height * 10007 + width)
    images = []
    for _ in range(count):
        image = np.zeros((height, width, 3), np.float32)
        side = 2
        while side <= max(height, width):
            coarse = random.normal(0, 1, (min(side, height), min(side, width), 3)).astype(np.float32)
            image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
            side *= 2
        images.append(np.clip(128 + 40 * image, 0, 255).astype(np.uint8))
    return images


def compare_models(reference: Predictor, exported: Predictor) -> list[SizeParity]:
    """Compare two models of one contract at each of :func:`parity_sizes`.

    Raises:
        ExportError: One of them does not run at one of the sizes.
    """
    result = []
    for name, (height, width) in parity_sizes(reference.contract).items():
        greatest, of_depth = 0.0, []
        for image_rgb in probe_images(height, width):
            try:
                expected, actual = reference.predict(image_rgb), exported.predict(image_rgb)
            except InferenceError as error:
                raise ExportError(f"no file was written, for it does not run at {width}x{height} ({error})") from error
            of_depth.append(np.abs(actual.depth_m / expected.depth_m - 1))
            greatest = max(greatest, float(of_depth[-1].max()))
            if expected.log_depth_sigma is not None and actual.log_depth_sigma is not None:
                of_sigma = np.abs(actual.log_depth_sigma / expected.log_depth_sigma - 1)
                greatest = max(greatest, float(of_sigma.max()))
        result.append(SizeParity(name, height, width, greatest, float(np.percentile(of_depth, 99))))
    return result


def export_compared(
    checkpoint: Path,
    output: Path,
    half: bool = True,
    metrics: dict | None = None,
    zoom: tuple[float, float] | None = None,
) -> list[SizeParity]:
    """Export a checkpoint as :func:`export_checkpoint` does, and keep the file only if it answers as PyTorch does.

    Args:
        checkpoint: ``model.safetensors`` of a run.
        output: ``.onnx``, ``.pt2`` or ``.safetensors``; an older file of that name is replaced, or left on a failure.
        half: Round large weights to float16; what that changes is part of the comparison.
        metrics: For the contract.
        zoom: For the contract, in place of all that training showed.

    Raises:
        ExportError: Another ending, a ``zoom`` beyond what training showed, a size that does not run, or a difference
            above :data:`BOUND`; ``output`` is not written then.
        CheckpointError: The checkpoint cannot be used.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        written = export_checkpoint(checkpoint, Path(folder) / output.name, half, metrics, zoom)
        found = compare_models(open_model(str(checkpoint), "cpu"), open_model(str(written), "cpu"))
        refuse_beyond(BOUND, found, output)
        os.replace(written, output)
    return found


def refuse_beyond(bound: float, found: Sequence[SizeParity], output: Path) -> None:
    """Refuse an export that answers otherwise than its checkpoint.

    Raises:
        ExportError: A difference above the bound.
    """
    worst = max(found, key=lambda size: size.greatest)
    if not worst.greatest <= bound:  # NaN fails too
        raise ExportError(
            f"{output.name} answers otherwise than the checkpoint: {100 * worst.greatest:.2g} % at {worst.width}x"
            f"{worst.height} ({worst.name}), and at most {100 * bound:g} % is allowed; no file was written. Try "
            "--no-half, or another version of torch and onnx"
        )
