"""Milliseconds per frame of one or more models, bursts of each in turn within one run, and their ratio to the first.

    python benchmarks/inference_speed.py default frozen.onnx --threads 2

Machines differ and drift; the ratios hold where the milliseconds do not. Measure while nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import platform
from functools import partial
from pathlib import Path

import numpy as np
from bursts import time_in_turn
from rich.console import Console
from rich.table import Table

from depth_estimation_ros.inference import load_predictor


def main() -> None:
    """Time whole predictions (tensor, network, depth) at one image size, model by model, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["default"], help="bundled names or .onnx and .pt2 files")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="network size; default: each model's own")
    parser.add_argument("--rounds", type=int, default=10, help="bursts of each model (default: 10)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: the backend's choice")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", type=Path, help="write medians and quartiles here, for pareto.py")
    arguments = parser.parse_args()

    predictors = [
        load_predictor(model, device=arguments.device, num_threads=arguments.threads) for model in arguments.models
    ]
    random = np.random.default_rng(0)
    images = []
    for predictor in predictors:
        size = arguments.size or predictor.contract.input.usual_size
        images.append(random.integers(0, 256, (*size, 3), dtype=np.uint8))
        predictor.warm_up(*size)
    runs = [partial(predictor.predict, image_rgb) for predictor, image_rgb in zip(predictors, images, strict=True)]
    taken_ms = time_in_turn(runs, arguments.rounds)
    burst_ms = np.median(taken_ms, axis=2)  # (rounds, models)

    table = Table("model", "size", "device", "median ms", "p90 ms", "ratio to first (median of rounds)")
    entries = []
    for column, (model, predictor, image_rgb) in enumerate(zip(arguments.models, predictors, images, strict=True)):
        low, median, high = np.quantile(burst_ms[:, column], [0.25, 0.5, 0.75]).tolist()
        height, width = image_rgb.shape[:2]
        entries.append(
            {"name": model, "height": height, "width": width, "median_ms": median, "quartiles_ms": [low, high]}
        )
        ratio = np.median(burst_ms[:, column] / burst_ms[:, 0])
        table.add_row(
            model,
            f"{image_rgb.shape[1]}x{image_rgb.shape[0]}",
            predictor.device,
            f"{median:.1f}",
            f"{np.quantile(taken_ms[:, column], 0.9):.1f}",
            f"{ratio:.2f}",
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"entries": entries}, indent=2) + "\n")
    console = Console()
    console.print(table)
    console.print(
        f"{platform.processor() or platform.machine()}, {arguments.threads or 'automatic'} threads", style="dim"
    )


if __name__ == "__main__":
    main()
