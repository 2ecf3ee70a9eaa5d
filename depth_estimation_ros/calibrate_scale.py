"""Find the `scale` of one robot: compare the published depth with a trusted source and print what to set."""

from __future__ import annotations

import argparse
import sys
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.utilities import remove_ros_args

from depth_estimation_ros.scale_calibration import LEAST_FRAMES, ScaleError, ScaleResult, combine
from depth_estimation_ros.scale_calibrator import ScaleCalibrator
from depth_estimation_ros.topics import in_namespace


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; ROS's own arguments have been taken off."""
    parser = argparse.ArgumentParser(prog="calibrate_scale", description=__doc__)
    parser.add_argument("--reference", required=True, choices=("depth", "scan", "floor"), help="what is trusted")
    parser.add_argument(
        "--topic", help="of the reference: a depth image registered to the colour camera, or a LaserScan"
    )
    parser.add_argument(
        "--pose",
        nargs=6,
        type=float,
        metavar=("X", "Y", "Z", "ROLL", "PITCH", "YAW"),
        help="scan: the camera in the scanner's frame, metres and degrees, x forward, y left, z up, positive pitch "
        "looks down; without it tf is asked",
    )
    parser.add_argument("--camera-height", type=float, help="floor: metres from the floor to the camera")
    parser.add_argument(
        "--camera-pitch",
        type=float,
        help="floor: degrees, positive looks down; without it up to 20 either way are tried",
    )
    parser.add_argument("--camera", default="", help="which of the node's several cameras, by its name in `cameras`")
    parser.add_argument("--depth-topic", help="the estimate (default: depth/image_rect, of the camera)")
    parser.add_argument("--node", default="depth_estimation", help="asked for its scale (default: %(default)s)")
    parser.add_argument("--current-scale", type=float, help="its scale, where it cannot be asked")
    parser.add_argument("--frames", type=int, default=30, help="how many to compare (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to try (default: %(default)s)")
    parser.add_argument(
        "--tolerance", type=float, default=0.05, help="seconds between two stamps that belong together (%(default)s)"
    )
    given = parser.parse_args(arguments)
    given.depth_topic = given.depth_topic or in_namespace(given.camera, "depth/image_rect")
    if given.reference == "floor":
        if given.camera_height is None or not given.camera_height > 0:
            parser.error("--reference floor needs --camera-height, in metres above the floor")
    elif not given.topic:
        parser.error(f"--reference {given.reference} needs --topic")
    if given.frames < LEAST_FRAMES:
        parser.error(f"--frames is {given.frames}: it must be {LEAST_FRAMES} or more")
    return given


def report(result: ScaleResult, current_scale: float, camera: str = "") -> str:
    """Say what to set, as a line for a parameter file, and what it rests on."""
    return (
        f"{f'{camera}.' if camera else ''}scale: {current_scale * result.factor:.3f}\n"
        f"# {result.factor:.3f} times the present {current_scale:g}, from {result.frames} frames with {result.pixels} "
        f"pixels; spread {result.pixel_spread:.1%} within a frame, {result.frame_spread:.1%} between frames"
    )


def calibrate(given: argparse.Namespace, node: ScaleCalibrator) -> ScaleResult:
    """Listen until there are frames enough or the time is over.

    Raises:
        ScaleError: With what to do.
    """
    end_s = time.monotonic() + given.timeout
    while len(node.frames) < given.frames and time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    if len(node.frames) < LEAST_FRAMES:
        raise ScaleError(node.explain_silence())
    return combine(node.frames)


def main(args: list[str] | None = None) -> int:
    """Run; 0 with a scale on standard output, 1 with the reason on standard error, 130 when stopped."""
    given = parse(remove_ros_args(args if args is not None else sys.argv)[1:])
    try:
        rclpy.init(args=args)
        node = ScaleCalibrator(given)
        current_scale = node.current_scale()
        print(report(calibrate(given, node), current_scale, given.camera), flush=True)
        return 0
    except ScaleError as refusal:
        print(f"no scale: {refusal}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
