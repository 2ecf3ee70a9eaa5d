"""What each network of table 1 costs: the paper chose by accuracy and efficiency, and printed only accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from depth_training.config import TrainingConfig
from depth_training.network.depth_network import DepthNetwork
from depth_training.reproduction.experiments import ROWS

ROUNDS = 20


def multiply_adds(network: Callable[[Tensor], object], height: int, width: int) -> int:
    """Multiply-adds of all convolutions and matrix products for one RGB image; a module is in evaluation mode."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, height, width))
    return counter.get_total_flops() // 2


def time_in_turn(runs: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """Median milliseconds of each call, each once per round, so that a machine's drift meets all alike."""
    taken_ms = np.empty((rounds + 1, len(runs)))
    for row in taken_ms:
        for column, run in enumerate(runs):
            start_s = time.perf_counter()
            run()
            row[column] = (time.perf_counter() - start_s) * 1000
    return np.median(taken_ms[1:], axis=0).tolist()  # the first round only warms up


def measure_efficiency(configs: dict[str, TrainingConfig], rounds: int = ROUNDS) -> pd.DataFrame:
    """Parameters, work and time of networks at their native size, in eager PyTorch on the CPU.

    Args:
        configs: Settings by row of table 1.
        rounds: Timed calls of each network.
    """
    networks = {row: DepthNetwork(config.network).eval() for row, config in configs.items()}
    sizes = {row: (config.data.native_height, config.data.native_width) for row, config in configs.items()}
    images = {row: torch.rand(1, 3, *size) for row, size in sizes.items()}

    def call(row: str) -> Callable[[], object]:
        return lambda: networks[row](images[row])

    with torch.inference_mode():
        medians_ms = time_in_turn([call(row) for row in networks], rounds)
    lines = []
    for (row, network), median_ms in zip(networks.items(), medians_ms, strict=True):
        numbers = [parameter.numel() for parameter in network.parameters()]
        learnt = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        lines.append(
            {
                "": ROWS[row],
                "parameters, M": f"{sum(numbers) / 1e6:.2f}",
                "of these trained, M": f"{learnt / 1e6:.2f}",
                "GMAC": f"{multiply_adds(network, *sizes[row]) / 1e9:.2f}",
                f"ms, {torch.get_num_threads()} threads": f"{median_ms:.1f}",
                "input": f"{sizes[row][1]}x{sizes[row][0]}",
            }
        )
    return pd.DataFrame(lines)
