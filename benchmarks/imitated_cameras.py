"""How depth holds for cameras with other lenses and aspect ratios, imitated on images whose depth is known.

    python benchmarks/imitated_cameras.py --model default --pairs ../shared/data/nyu2/test_public.csv

Each camera is run on the node's own path with its calibration (corrected) and without one (uncorrected), and compared
with the native network on the same pixels. depth_training/imitated_cameras.py says how a camera is imitated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depth_training.config import DataConfig
from depth_training.data.pairs import read_pairs
from depth_training.evaluation import Camera, evenly_spread, open_model
from depth_training.imitated_cameras import CAMERAS, measure, summarise_cameras


def main() -> None:
    """Measure every camera on the same images and print one row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a bundled name, an .onnx, .pt2 or .safetensors file")
    parser.add_argument("--pairs", type=Path, default=Path("../shared/data/nyu2/test_public.csv"), help="CSV of pairs")
    parser.add_argument("--limit", type=int, help="use so many of the pairs, evenly spread")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()

    cv2.setNumThreads(1)
    pairs = evenly_spread(read_pairs(arguments.pairs), arguments.limit)
    predictor = open_model(arguments.model)
    measured = measure(predictor, CAMERAS, pairs, Camera(DataConfig.fx, DataConfig.fy))
    rows = pd.DataFrame(track(measured, "measuring", len(pairs) * len(CAMERAS)))
    results = summarise_cameras(rows, CAMERAS)

    table = Table(title=f"{arguments.model} on {len(pairs)} images, abs_rel and mean ln(predicted / true)")
    for heading in ("camera", "native", "corrected", "over native", "target", "formula alone", "uncorrected"):
        table.add_column(heading)
    for heading in ("bias native", "bias corrected", "bias uncorrected", "foretold by the ratio"):
        table.add_column(heading)
    for row in results:
        verdict = "" if row["target"] is None else f"{row['target']:.2f} {'met' if row['meets_target'] else 'missed'}"
        table.add_row(
            row["camera"],
            *(f"{row[key]:.3f}" for key in ("abs_rel_native", "abs_rel_corrected", "over_native_corrected")),
            verdict,
            *(f"{row[key]:.3f}" for key in ("abs_rel_formula", "abs_rel_uncorrected")),
            *(f"{row[key]:+.3f}" for key in ("bias_native", "bias_corrected", "bias_uncorrected", "expected_bias")),
        )
    # A narrower terminal breaks the lines; rich would cut the figures.
    Console(width=max(Console().width, 130)).print(table)
    if arguments.json:
        document = {"model": predictor.contract.name, "images": len(pairs), "cameras": results}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
