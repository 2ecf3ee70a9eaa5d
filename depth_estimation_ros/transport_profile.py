"""The transport profile for another process, such as a camera driver: ``transport_profile > camera.xml``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from depth_estimation_ros.transport import (
    FRAMES_ON_THE_WAY,
    FULL_BYTES,
    MEGABYTE,
    NEW_VARIABLE,
    OLD_VARIABLE,
    SHARED_MEMORY,
    profile_xml,
    size_segment,
    stays_local,
)


def main(args: Sequence[str] | None = None, shared_memory: Path = SHARED_MEMORY) -> int:
    """Print a profile that fits this machine; the exit status is 1, and nothing is printed, where none does."""
    parser = argparse.ArgumentParser(
        prog="transport_profile",
        description="Prints a Fast DDS profile with shared memory enough for large messages, for the process that "
        f"sends them: {NEW_VARIABLE} (before Kilted {OLD_VARIABLE}) names the file to it.",
    )
    parser.add_argument(
        "--message-mb",
        type=_positive,
        default=FULL_BYTES / FRAMES_ON_THE_WAY / 1e6,
        help="what is sent at once, in millions of bytes, as `ros2 topic bw` says; a 1920x1080 rgb8 image has 6.3 "
        "(default: all outputs of the depth node at 640x480)",
    )
    message_bytes = int(parser.parse_args(args).message_mb * 1e6)
    sized = size_segment(shared_memory, FRAMES_ON_THE_WAY * message_bytes)
    if sized.remark is not None:
        print(sized.remark, file=sys.stderr)
        return 1
    if sized.segment_bytes < message_bytes:
        print(
            f"a message of {message_bytes / 1e6:.1f} MB does not fit into a quarter of what {shared_memory} has free, "
            f"{sized.segment_bytes // MEGABYTE} MB: free {4 * message_bytes / MEGABYTE:.0f} MB there at least; in a "
            "container, raise --shm-size",
            file=sys.stderr,
        )
        return 1
    print(profile_xml(sized.segment_bytes, stays_local()), end="")
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and 1000")
    return value


if __name__ == "__main__":
    sys.exit(main())
