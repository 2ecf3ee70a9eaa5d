"""How many floating points the cloud's filter removes, and what it costs in good ones, on images with known depth.

    python benchmarks/flying_pixels.py --pairs ../shared/data/nyu2/test_public.csv

All is counted at network size, in pixels of the network image (NYU: 320x240), and depth is compared by its ratio. Each
prediction is first brought to the truth's scale by the median of their ratio, so that shape alone is judged.

    step        two true depths within 3x3 pixels differ by more than a factor of 1.25
    floating    a step is within 5 pixels; the point is more than 10 % farther than the nearest true depth within these
                5 pixels and more than 10 % nearer than the farthest, so on neither of the surfaces that it lies
                between; and it is more than 10 % off every true depth within the 3x3 pixels around it
    good        it is within 10 % of a true depth in the 3x3 pixels around it

The rest, neither floating nor good, is the network's error on surfaces, which no filter of this kind is about.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depth_estimation_ros.flying_pixels import flying_pixels
from depth_estimation_ros.inference import load_predictor
from depth_estimation_ros.parameters import Parameters

STEP_RATIO = 1.25
NEIGHBOURHOOD_PX = 5
MARGIN = 0.1
THRESHOLDS = (0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.01, 0.012, 0.013, 0.015, 0.02)


def judge(depth_m: np.ndarray, truth_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say which points float and which are good.

    Args:
        depth_m: (h, w) float32 metres, above 0.
        truth_m: (h, w) float32 metres, above 0.

    Returns:
        Two (h, w) bool.
    """
    log_depth, log_truth = np.log(depth_m * np.median(truth_m / depth_m)), np.log(truth_m)
    margin, next_to, around = np.log(1 + MARGIN), _square(1), _square(NEIGHBOURHOOD_PX)
    is_step = cv2.dilate(log_truth, next_to) - cv2.erode(log_truth, next_to) > np.log(STEP_RATIO)
    at_step = cv2.dilate(is_step.astype(np.uint8), around) > 0
    between = (log_depth > cv2.erode(log_truth, around) + margin) & (log_depth < cv2.dilate(log_truth, around) - margin)
    framed = np.pad(log_truth, 1, mode="edge")
    neighbours = np.lib.stride_tricks.sliding_window_view(framed, (3, 3))  # (h, w, 3, 3)
    good = (np.abs(neighbours - log_depth[..., np.newaxis, np.newaxis]) <= margin).any(axis=(2, 3))
    return at_step & between & ~good, good


def _square(reach: int) -> np.ndarray:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def main() -> None:
    """Predict every n-th pair once, and count for each threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True, help="CSV with columns image, depth (16-bit PNG in mm)")
    parser.add_argument("--model", default="default", help="bundled name or .onnx or .pt2 file")
    parser.add_argument("--every", type=int, default=5, help="take every n-th pair (default: 5)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: the backend's choice")
    arguments = parser.parse_args()

    predictor = load_predictor(arguments.model, num_threads=arguments.threads)
    height, width = predictor.contract.input.native_height, predictor.contract.input.native_width
    with arguments.pairs.open(newline="") as file:
        pairs = list(csv.DictReader(file))[:: arguments.every]
    counts = np.zeros((len(THRESHOLDS), 3))  # floating, good and all points that each threshold removes
    totals = np.zeros(3)
    for pair in track(pairs, "predicting"):
        image_bgr = cv2.imread(str(arguments.pairs.parent / pair["image"]))
        truth_mm = cv2.imread(str(arguments.pairs.parent / pair["depth"]), cv2.IMREAD_UNCHANGED)
        small_bgr = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA)
        truth_m = cv2.resize(truth_mm, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.float32) / 1000
        known = truth_m > 0
        depth_m = predictor.predict(cv2.cvtColor(small_bgr, cv2.COLOR_BGR2RGB)).depth_m
        floating, good = judge(depth_m, np.where(known, truth_m, depth_m))
        groups = np.stack([floating & known, good & known, known])  # (3, h, w)
        totals += groups.sum(axis=(1, 2))
        for row, threshold in zip(counts, THRESHOLDS, strict=True):
            row += (groups & flying_pixels(depth_m, threshold)).sum(axis=(1, 2))

    titles = ("threshold", "floating before", "after", "floating removed", "good kept", "all kept")
    table = Table(*titles, title=f"{len(pairs)} images, model {arguments.model}")
    floating_before = totals[0] / totals[2]
    for threshold, removed in zip(THRESHOLDS, counts, strict=True):
        kept = totals - removed
        shares = (floating_before, kept[0] / kept[2], removed[0] / totals[0], kept[1] / totals[1], kept[2] / totals[2])
        is_default = threshold == Parameters().points_filter_threshold
        name = f"{threshold:g}{' (default)' if is_default else ''}"
        table.add_row(name, *(f"{100 * share:.2f} %" for share in shares), style="bold" if is_default else None)
    Console().print(table)


if __name__ == "__main__":
    main()
