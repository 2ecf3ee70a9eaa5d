"""Three cameras' frames on one model: one inference after the other, all at once in threads, or as one batch.

    python benchmarks/several_cameras.py --threads 1

The ways are taken in turn within one run, because machines drift; the ratios hold where the milliseconds do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depth_estimation_ros.inference.model_file import read_contract, resolve_model


def batched(path: str, cameras: int) -> bytes:
    """Give the same graph a batch of `cameras` in place of its fixed 1."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = cameras
    del model.graph.value_info[:]
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Resize":  # its target size is [1, channels] joined to [height, width]
            constant = makers[makers[node.input[-1]].input[0]].attribute[0]
            constant.ints[0] = cameras
    return model.SerializeToString()


def main() -> None:
    """Time all frames of one round, the CPU's work on them and, of each, the wait for its own depth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="default", help="bundled name or .onnx file, float32")
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of one inference; 0: ONNX Runtime's choice")
    arguments = parser.parse_args()

    path = resolve_model(arguments.model)
    given = read_contract(path).input
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    single, together = (
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for graph in (path.read_bytes(), batched(str(path), arguments.cameras))
    )
    shape = (arguments.cameras, 3, given.native_height, given.native_width)
    frames = np.random.default_rng(0).random(shape, np.float32)
    pool = ThreadPoolExecutor(arguments.cameras)

    def run_one(frame: np.ndarray) -> float:
        single.run(None, {given.name: frame[None]})
        return time.perf_counter()

    def as_batch() -> list[float]:
        together.run(None, {given.name: frames})
        return [time.perf_counter()] * len(frames)

    ways: dict[str, Callable[[], list[float]]] = {
        "one after the other": lambda: [run_one(frame) for frame in frames],
        "at once, a thread each": lambda: list(pool.map(run_one, frames)),
        "one batch": as_batch,
    }
    for way in ways.values():
        way()
    round_ms = np.empty((arguments.rounds, len(ways)))
    wait_ms, cpu_ms = np.empty_like(round_ms), np.empty_like(round_ms)
    for number in track(range(arguments.rounds), "timing"):
        for column, way in enumerate(ways.values()):
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            waits_s = np.array(way()) - start_s
            round_ms[number, column], wait_ms[number, column] = waits_s.max() * 1000, waits_s.mean() * 1000
            cpu_ms[number, column] = (time.process_time() - start_cpu_s) * 1000

    table = Table("way", "all frames, ms", "ratio to first", "CPU time, ms", "mean wait for a frame's depth, ms")
    for column, way in enumerate(ways):
        ratio = np.median(round_ms[:, column] / round_ms[:, 0])
        medians_ms = [f"{np.median(taken_ms[:, column]):.1f}" for taken_ms in (round_ms, cpu_ms, wait_ms)]
        table.add_row(way, medians_ms[0], f"{ratio:.2f}", *medians_ms[1:])
    Console().print(table, "Medians of rounds.")


if __name__ == "__main__":
    main()
