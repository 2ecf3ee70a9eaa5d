"""The demo's command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path


def between(kind: type, least: float, greatest: float) -> Callable[[str], float]:
    """What argparse is to read a number within bounds by."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= greatest:
            name = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} from {least:g} to {greatest:g}")
        return value

    return convert


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; exits with status 2 and one sentence where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="depth_demo",
        description="Show the depth node at work: camera, node and listener as separate processes over real DDS. "
        "Writes pictures, a point cloud and the numbers into the output folder, and ends by itself.",
        epilog="While it runs, about 3 MB per frame lie in the output folder; they are removed at the end.",
    )
    parser.add_argument(
        "--source",
        default="room",
        help="'room' (built in, depth known exactly), a folder of .jpg/.png images (X_depth.png, 16-bit millimetres, "
        "is the truth of X_rgb.jpg), an image, a video file, or a webcam's number (default: %(default)s)",
    )
    parser.add_argument("--frames", type=between(int, 1, 100_000), default=60, help="most frames to send (default: 60)")
    parser.add_argument(
        "--rate", type=between(float, 0.1, 120), default=10.0, metavar="HZ", help="frames per second (default: 10)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("demo_output"), help="folder to write (default: demo_output)"
    )
    parser.add_argument("--model", default="default", help="a bundled model's name or a file (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda, as the node takes it (default: auto)")
    parser.add_argument("--hfov-deg", type=between(float, 1, 179), help="the camera's horizontal field of view")
    parser.add_argument("--fx", type=between(float, 1, 1e5), help="the camera's focal length in pixels")
    parser.add_argument("--fy", type=between(float, 1, 1e5), help="its vertical one, where it differs")
    parser.add_argument(
        "--timeout",
        type=between(float, 1, 3600),
        default=60.0,
        metavar="S",
        help="seconds to wait for the node to start, and for each depth image (default: 60)",
    )
    arguments = parser.parse_args(argv)
    if arguments.hfov_deg is not None and arguments.fx is not None:
        parser.error("--hfov-deg and --fx say the same thing: give one of them")
    if arguments.fy is not None and arguments.fx is None:
        parser.error("--fy needs --fx: give both")
    return arguments
