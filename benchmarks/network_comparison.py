"""The model against the networks it is measured by, in one run on the CPU, in turn: milliseconds, size and work.

    python benchmarks/network_comparison.py --threads 2 --json comparison.json

The others have random weights, which take as long as trained ones: the paper's network with its 640-wide decoder, in
eager PyTorch at 480x640 and in ONNX Runtime at the model's own input, and a network of FastDepth's published shape at
224x224. Networks alone: no resizing, no messages. Measure while nothing else runs; the ratios are what holds elsewhere.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from bursts import time_in_turn
from fastdepth import FastDepth
from rich.console import Console
from rich.table import Table
from torch import nn

import depth_training
from depth_estimation_ros.inference.onnx_backend import free_dimensions, open_session
from depth_training.checkpoint import build_contract, load_checkpoint
from depth_training.config import load_config
from depth_training.export import export_checkpoint, export_onnx, store_weights_as_half
from depth_training.network.depth_network import DepthNetwork
from depth_training.reproduction.efficiency import multiply_adds

ROOT = Path(__file__).parents[1]
BUNDLED = Path(depth_training.__file__).parent / "models" / "default.safetensors"
PAPER = ROOT / "config" / "training" / "paper_mobilenet_v2.yaml"
# What is asked of the model: (slower, faster, least ratio of their times).
TARGETS = (
    ("paper, eager PyTorch", "model", 15.0),
    ("paper, same input", "model", 1.0),
    ("FastDepth", "model at 224", 1.0),
)


@dataclass(frozen=True)
class Entrant:
    """One network at one size: what runs it once, and what it weighs.

    Attributes:
        name: For tables.
        runtime: "onnxruntime" or "torch".
        height, width: Of its input.
        parameters: Trainable numbers.
        gmac: Multiply-adds of one image, in thousand millions.
        file_mb: Of the exported file with float16 weights; None where nothing is exported.
    """

    name: str
    runtime: str
    height: int
    width: int
    parameters: int
    gmac: float
    file_mb: float | None


def entrant(name: str, runtime: str, network: nn.Module, size: tuple[int, int], file: Path | None) -> Entrant:
    """Count what a network weighs at a size (height, width)."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    file_mb = None if file is None else file.stat().st_size / 1e6
    return Entrant(name, runtime, *size, parameters, multiply_adds(network.eval(), *size) / 1e9, file_mb)


def summarise(entrants: Sequence[Entrant], taken_ms: np.ndarray) -> dict:
    """Median and quartiles of each entrant, and of the ratios that are asked for, taken round by round.

    Args:
        entrants: In the order of ``taken_ms``.
        taken_ms: (rounds, entrants), the median of each burst.
    """
    columns = {entry.name: taken_ms[:, column] for column, entry in enumerate(entrants)}
    entries = []
    for entry in entrants:
        low, median, high = np.quantile(columns[entry.name], [0.25, 0.5, 0.75])
        entries.append({**asdict(entry), "median_ms": median, "quartiles_ms": [low, high]})
    ratios = []
    for slower, faster, least in TARGETS:
        low, median, high = np.quantile(columns[slower] / columns[faster], [0.25, 0.5, 0.75])
        ratios.append(
            {
                "of": slower,
                "over": faster,
                "median": median,
                "quartiles": [low, high],
                "least": least,
                "met": median >= least,
            }
        )
    return json.loads(json.dumps({"entries": entries, "ratios": ratios}, default=lambda value: value.item()))


def export_plain(network: nn.Module, size: tuple[int, int], path: Path) -> Path:
    """Write a network of one fixed size as ONNX, its large weights as float16 as in our own files."""
    program = torch.onnx.export(network.eval(), (torch.rand(1, 3, *size),), dynamo=True, verbose=False)
    assert program is not None
    model = program.model_proto
    store_weights_as_half(model)
    onnx.save(model, path)
    return path


def build(checkpoint: Path, folder: Path, threads: int) -> tuple[list[Entrant], list[Callable[[], object]]]:
    """Make every entrant and what runs it; exported files go to ``folder``."""
    random = np.random.default_rng(0)

    def session_run(file: Path, size: tuple[int, int]) -> Callable[[], object]:
        # As a predictor does when it warms up: FastDepth's graph is of one size from the start.
        free = free_dimensions(open_session(file, "cpu", threads), *size)
        session = open_session(file, "cpu", threads, free)
        feed = {session.get_inputs()[0].name: random.random((1, 3, *size), np.float32)}
        return lambda: session.run(None, feed)

    network, contract = load_checkpoint(checkpoint)
    native, large, square = (contract.input.native_height, contract.input.native_width), (480, 640), (224, 224)
    model_file = export_checkpoint(checkpoint, folder / "model.onnx")
    paper_config = load_config(PAPER, ["data.pairs=none"])
    paper = DepthNetwork(paper_config.network).eval()
    paper_file = export_onnx(paper, build_contract(paper_config, {}), folder / "paper.onnx")
    fastdepth = FastDepth()
    fastdepth_file = export_plain(fastdepth, square, folder / "fastdepth.onnx")
    image = torch.rand(1, 3, *large)

    @torch.inference_mode()
    def eager() -> object:
        return paper(image)

    entrants = [
        entrant("model", "onnxruntime", network, native, model_file),
        entrant("paper, eager PyTorch", "torch", paper, large, None),
        entrant("paper, same input", "onnxruntime", paper, native, paper_file),
        entrant("FastDepth", "onnxruntime", fastdepth, square, fastdepth_file),
        entrant("model at 224", "onnxruntime", network, square, model_file),
    ]
    runs = [session_run(model_file, native), eager]
    runs += [session_run(paper_file, native), session_run(fastdepth_file, square), session_run(model_file, square)]
    return entrants, runs


def main() -> None:
    """Build all networks, time them in turn, print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED, help="the model (default: the bundled one)")
    parser.add_argument("--rounds", type=int, default=10, help="bursts of each network (default: 10)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        entrants, runs = build(arguments.checkpoint, Path(folder), arguments.threads)
        result = summarise(entrants, np.median(time_in_turn(runs, arguments.rounds), axis=2))

    table = Table("network", "runtime", "input", "median ms", "quartiles ms", "parameters", "GMAC", "file MB")
    for entry in result["entries"]:
        low, high = entry["quartiles_ms"]
        file_mb = "" if entry["file_mb"] is None else f"{entry['file_mb']:.1f}"
        figures = (f"{entry['median_ms']:.1f}", f"{low:.1f} to {high:.1f}", f"{entry['parameters'] / 1e6:.2f} M")
        size = f"{entry['width']}x{entry['height']}"
        table.add_row(entry["name"], entry["runtime"], size, *figures, f"{entry['gmac']:.2f}", file_mb)
    # A narrower terminal breaks the lines; rich would cut the figures.
    console = Console(width=max(Console().width, 120))
    console.print(table)
    for ratio in result["ratios"]:
        low, high = ratio["quartiles"]
        console.print(
            f"{ratio['of']} takes {ratio['median']:.2f} times ({low:.2f} to {high:.2f}) as long as {ratio['over']}: "
            f"at least {ratio['least']:g} is {'met' if ratio['met'] else 'missed'}"
        )
    result["machine"] = f"{platform.processor() or platform.machine()}, {arguments.threads} threads"
    console.print(result["machine"], style="dim")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
