"""Frames of the demo's sources as a recording (rosbag2, mcap): `python -m depth_estimation_ros.demo.bag --output room`.

With the truth beside the image it shows on any robot what the node makes of a scene whose depth is known.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from rclpy.serialization import serialize_message
from rclpy.time import Time
from std_msgs.msg import Header

from depth_estimation_ros.demo.arguments import between
from depth_estimation_ros.demo.camera_process import camera_info
from depth_estimation_ros.demo.frames import GivenIntrinsics, SourceFrame
from depth_estimation_ros.demo.sources import SourceError, open_source
from depth_estimation_ros.images import depth_to_message, rgb_to_message

IMAGE, INFO, TRUTH = "/camera/image", "/camera/camera_info", "/camera/depth"
TYPES = {IMAGE: "sensor_msgs/msg/Image", INFO: "sensor_msgs/msg/CameraInfo", TRUTH: "sensor_msgs/msg/Image"}
FRAME_ID = "camera_optical_frame"
INFO_DELAY_NS = 1_000_000
"""As image_transport's drivers do, the CameraInfo goes out after its image."""


def write_bag(path: Path, frames: Iterable[SourceFrame], rate_hz: float, start_ns: int) -> int:
    """Write image, CameraInfo and, where it is known, the true depth (32FC1) of each frame, all with its stamp.

    Args:
        path: Folder to make.
        frames: At least one.
        rate_hz: Frames per second of the recording.
        start_ns: Stamp of the first one, nanoseconds.

    Returns:
        How many frames were written.

    Raises:
        FileExistsError: There is something at `path`.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    if path.exists():
        raise FileExistsError(f"{path} exists: remove it, or name another --output")
    store, count = get_typestore(Stores.ROS2_HUMBLE), 0
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in TYPES.items()}
        for frame in frames:
            stamp_ns = start_ns + round(count * 1e9 / rate_hz)
            header = Header(stamp=Time(nanoseconds=stamp_ns).to_msg(), frame_id=FRAME_ID)
            height, width = frame.image_rgb.shape[:2]
            messages = [(IMAGE, rgb_to_message(frame.image_rgb, header))]
            if frame.truth_m is not None:
                messages.append((TRUTH, depth_to_message(frame.truth_m, "32FC1", header)))
            for topic, message in messages:
                writer.write(connections[topic], stamp_ns, serialize_message(message))
            info = serialize_message(camera_info(frame.k, height, width, header))
            writer.write(connections[INFO], stamp_ns + INFO_DELAY_NS, info)
            count += 1
    return count


def main(argv: Sequence[str] | None = None) -> int:
    """Write a recording; 0, or 2 with one sentence where it cannot be."""
    parser = argparse.ArgumentParser(prog="bag", description="Write a recording with known depth (rosbag2, mcap).")
    parser.add_argument("--source", default="room", help="as for the demo: 'room', images or a video (%(default)s)")
    parser.add_argument("--frames", type=int, default=40, help="most frames to write (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second (default: %(default)s)")
    parser.add_argument(
        "--hfov-deg", type=between(float, 1, 179), help="the camera's horizontal field of view, where it is not known"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    given = parser.parse_args(argv)
    if given.frames < 1 or not given.rate > 0:
        parser.error(f"--frames {given.frames} and --rate {given.rate:g}: both must be above 0")
    try:
        source = open_source(given.source, given.frames, GivenIntrinsics(given.hfov_deg))
        if source.webcam is not None:
            parser.error("a webcam is recorded by `ros2 bag record`: give images or a video")
        with closing(source.read()) as frames:
            count = write_bag(given.output, frames, given.rate, start_ns=10**9)
    except ModuleNotFoundError as error:
        print(f"{error}: pip install rosbags", file=sys.stderr)
        return 2
    except (SourceError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{count} frames of the {source.description} in {given.output}, on {', '.join(TYPES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
