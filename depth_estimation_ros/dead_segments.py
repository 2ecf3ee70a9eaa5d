"""Shared memory that Fast DDS processes left behind when they were killed: it stays real memory until it is removed."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

# "fastrtps" before Kilted. Beside each segment lies a file that its process holds locked as long as it lives.
LOCK_NAME = re.compile(r"(fastdds|fastrtps)_[0-9a-z]{16}_el")


def remove_dead_segments(shared_memory: Path) -> None:
    """Remove the segments of dead processes, as `fastdds shm clean` does.

    Done at each start, because a node that is killed leaves a segment as large as the package's profile makes it: a
    robot that kills and restarts its nodes would lose its memory.
    """
    for lock in shared_memory.glob("fast*_el"):
        segment = lock.with_name(lock.name.removesuffix("_el"))
        # The segment comes after its lock: without it, a process may be about to take the lock.
        if not LOCK_NAME.fullmatch(lock.name) or not segment.exists():
            continue
        try:
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(segment)
                os.unlink(lock)
        except OSError:  # a living process holds it, it is another user's, or somebody else has just removed it
            continue
