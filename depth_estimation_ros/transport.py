"""Shared memory enough for what this node sends, so that best-effort subscribers receive all of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import MutableMapping
from pathlib import Path

PROFILE = Path(__file__).resolve().parent / "fastdds_large_messages.xml"
SHARED_MEMORY = Path("/dev/shm")
LEAST_FREE_BYTES = 4 * 8 * 2**20
"""Four times the profile's segment: one that does not fit would make Fast DDS drop shared memory altogether."""

OLD_VARIABLE, NEW_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
# These read the old variable only; Kilted and later read the new one and warn of the old.
DISTRIBUTIONS_WITH_OLD_VARIABLE = ("humble", "iron", "jazzy")
# A user who has set one of these has chosen a transport.
USERS_VARIABLES = (OLD_VARIABLE, NEW_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")


def provide_transport_profile(
    environment: MutableMapping[str, str] = os.environ, shared_memory: Path = SHARED_MEMORY
) -> str | None:
    """Point Fast DDS at the package's profile, before ROS is initialised; other middlewares do not read it.

    Args:
        environment: Of this process; changed where the profile is used.
        shared_memory: Where the system's shared memory lies.

    Returns:
        None where the profile or the user's own choice holds, else a sentence that says why messages may be lost.
    """
    if any(environment.get(name) for name in USERS_VARIABLES):
        return None
    try:
        free_bytes = shutil.disk_usage(shared_memory).free
    except OSError as error:
        return f"{shared_memory} cannot be used ({error.strerror}): best-effort subscribers may lose messages"
    if free_bytes < LEAST_FREE_BYTES:
        return (
            f"{shared_memory} has {free_bytes / 2**20:.0f} MB free, and {LEAST_FREE_BYTES / 2**20:.0f} MB are needed "
            "for larger shared memory: best-effort subscribers may lose messages; in a container, raise --shm-size"
        )
    is_old = environment.get("ROS_DISTRO") in DISTRIBUTIONS_WITH_OLD_VARIABLE
    environment[OLD_VARIABLE if is_old else NEW_VARIABLE] = str(PROFILE)
    return None
