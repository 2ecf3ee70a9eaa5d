"""Shared memory enough for what this node sends, so that best-effort subscribers receive all of it.

Stock Fast DDS gives a process half a megabyte of shared memory for all that it sends: a depth image and a cloud sent
together overrun it, and best-effort subscribers lose one of them. The sender's side decides.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from depth_estimation_ros.dead_segments import remove_dead_segments

SHARED_MEMORY = Path("/dev/shm")
MEGABYTE = 2**20

# Of each pixel: depth 4, colour 3, confidence 4, rectified rgb 3; and of each point of the cloud.
IMAGES_BYTES_PER_PIXEL, CLOUD_BYTES_PER_POINT = 14, 16
FRAMES_ON_THE_WAY = 3
"""The one that is being sent, and two that slow subscribers still read."""

FULL_BYTES = FRAMES_ON_THE_WAY * 640 * 480 * (IMAGES_BYTES_PER_PIXEL + CLOUD_BYTES_PER_POINT)
"""All outputs of 640x480 with a point for each pixel, or all images of 1280x720 beside the default cloud.

Not what the parameters at start ask for: they change while the node runs, the segment does not. Fast DDS takes all of
it at once, as real memory: so not more either.
"""

LEAST_BYTES = FRAMES_ON_THE_WAY * (320 * 240 * 4 + 160 * 120 * CLOUD_BYTES_PER_POINT)
"""The default depth image and cloud; a smaller segment would not be worth replacing the stock one for."""

OLD_VARIABLE, NEW_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
# These read the old variable only; Kilted and later read the new one and warn of the old.
DISTRIBUTIONS_WITH_OLD_VARIABLE = ("humble", "iron", "jazzy")
# A user who has set one of these, or has one of these files where the node starts, has chosen a transport.
USERS_VARIABLES = (OLD_VARIABLE, NEW_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")
USERS_FILES = ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")

PROFILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Made by depth_estimation_ros: {megabytes} MB of shared memory for what one process sends. -->
<dds xmlns="http://www.eprosima.com">
  <profiles>
    <transport_descriptors>
      <transport_descriptor>
        <transport_id>large_shm</transport_id>
        <type>SHM</type>
        <segment_size>{segment}</segment_size>
        <maxMessageSize>{message}</maxMessageSize>
      </transport_descriptor>
      <transport_descriptor>
        <transport_id>udp</transport_id>
        <type>UDPv4</type>{whitelist}
      </transport_descriptor>
    </transport_descriptors>
    <participant profile_name="depth_estimation_ros" is_default_profile="true">
      <rtps>
        <userTransports>
          <transport_id>large_shm</transport_id>
          <transport_id>udp</transport_id>
        </userTransports>
        <useBuiltinTransports>false</useBuiltinTransports>
      </rtps>
    </participant>
  </profiles>
</dds>
"""
LOOPBACK = """
        <interfaceWhiteList>
          <address>127.0.0.1</address>
        </interfaceWhiteList>"""


@dataclass(frozen=True)
class SharedMemory:
    """What the package gives Fast DDS.

    Attributes:
        segment_bytes: 0 where the stock transport, or the user's own choice, holds.
        remark: One sentence that says why messages may be lost; None where all is well.
    """

    segment_bytes: int
    remark: str | None = None


def size_segment(shared_memory: Path = SHARED_MEMORY, wanted_bytes: int = FULL_BYTES) -> SharedMemory:
    """Give what is wanted, but at most a quarter of what is free: one that does not fit makes Fast DDS drop it.

    Args:
        shared_memory: Where the system's shared memory lies.
        wanted_bytes: Rounded up to whole megabytes; taken for `LEAST_BYTES` where it is less.
    """
    try:
        free_bytes = shutil.disk_usage(shared_memory).free
    except OSError as error:
        return SharedMemory(
            0, f"{shared_memory} cannot be used ({error.strerror}): best-effort subscribers may lose messages"
        )
    wanted_bytes = max(wanted_bytes, LEAST_BYTES)
    megabytes = min(-(-wanted_bytes // MEGABYTE), free_bytes // 4 // MEGABYTE)
    if megabytes * MEGABYTE < LEAST_BYTES:
        return SharedMemory(
            0,
            f"{shared_memory} has {free_bytes / MEGABYTE:.0f} MB free, and "
            f"{4 * -(-LEAST_BYTES // MEGABYTE)} MB are needed at least for larger shared memory, "
            f"{4 * -(-wanted_bytes // MEGABYTE)} MB for all of it: best-effort subscribers may lose messages; in a "
            "container, raise --shm-size",
        )
    return SharedMemory(megabytes * MEGABYTE)


def stays_local(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the user keeps ROS on this machine by what a profile has to say itself.

    Humble adds its own loopback transport to a profile's; later distributions restrict whatever there is.
    """
    return environment.get("ROS_DISTRO") == "humble" and environment.get("ROS_LOCALHOST_ONLY") == "1"


def profile_xml(segment_bytes: int, is_local: bool = False) -> str:
    """Write a Fast DDS profile.

    Args:
        segment_bytes: Of shared memory.
        is_local: UDP by the loopback interface only, and not for other machines.
    """
    return PROFILE.format(
        megabytes=segment_bytes // MEGABYTE,
        segment=segment_bytes,
        message=segment_bytes - segment_bytes // 4,
        whitelist=LOOPBACK if is_local else "",
    )


def users_choice(environment: Mapping[str, str] = os.environ) -> str | None:
    """Name what a user has chosen a transport with; None where nothing is chosen."""
    files = [name for name in USERS_FILES if Path(name).exists()]
    return next((name for name in USERS_VARIABLES if environment.get(name)), files[0] if files else None)


def is_fast_dds(rmw: str) -> bool:
    """Whether a middleware's identifier is one of Fast DDS's, such as ``rmw_fastrtps_cpp``."""
    return "fastrtps" in rmw


def provide_transport_profile(
    environment: MutableMapping[str, str] = os.environ, shared_memory: Path = SHARED_MEMORY
) -> str | None:
    """Point Fast DDS at a profile, before ROS is initialised; other middlewares do not read it.

    Done by the node itself and not by the launch file: `ros2 run` has it, too, and no other process inherits it.

    Args:
        environment: Of this process; changed where the profile is used.
        shared_memory: Where the system's shared memory lies.

    Returns:
        None where the profile or the user's own choice holds, else a sentence that says why messages may be lost.
    """
    if users_choice(environment) is not None:
        return None
    remove_dead_segments(shared_memory)
    sized = size_segment(shared_memory)
    if sized.segment_bytes == 0:
        return sized.remark
    # Where ROS keeps its logs. One file per size, the same whoever writes it: a node that is killed leaves nothing to
    # clean up behind it, and Fast DDS takes no XML but in a file that has a name.
    home = environment.get("ROS_HOME") or "~/.ros"
    try:
        folder = Path(home).expanduser() / "depth_estimation_ros"
        is_local = stays_local(environment)
        name = f"fastdds_{sized.segment_bytes // MEGABYTE}mb{'_local' if is_local else ''}.xml"
        file = _write(folder / name, profile_xml(sized.segment_bytes, is_local))
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        return (
            f"{home} cannot be written to ({error}), where the profile for larger shared memory belongs: best-effort "
            "subscribers may lose messages; set ROS_HOME to a folder of your own"
        )
    is_old = environment.get("ROS_DISTRO") in DISTRIBUTIONS_WITH_OLD_VARIABLE
    environment[OLD_VARIABLE if is_old else NEW_VARIABLE] = str(file)
    return None


def _write(file: Path, text: str) -> Path:
    """Write it whole or not at all: another node may be reading it."""
    if not file.is_file() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
            new.write(text)
        os.replace(new.name, file)
    return file.resolve()
