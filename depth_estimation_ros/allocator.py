"""Freed image buffers are kept for the next frame, instead of going back to the system and being zeroed anew."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

# A node's: its largest message with room to spare, and what a frame takes of them.
KEEP_BELOW_BYTES = 64 * 2**20
KEPT_BYTES = 256 * 2**20

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
USERS_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_buffers(
    environment: Mapping[str, str] = os.environ,
    keep_below_bytes: int = KEEP_BELOW_BYTES,
    kept_bytes: int = KEPT_BYTES,
) -> None:
    """Set what MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ set, unless the user has set something.

    Those are read before a process's first line. glibc takes the same by a call at any time: so there is one place for
    `ros2 run`, launch and containers alike, nobody inherits it, and no process is started twice. Other C libraries have
    no such call, and are left alone.

    Args:
        environment: Where the user's own settings would be.
        keep_below_bytes: Buffers up to this come from the process's own stock; glibc takes at most 2^31 - 1.
        kept_bytes: What the stock may hold before memory goes back, likewise.
    """
    if any(environment.get(name) for name in USERS_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, keep_below_bytes)
        mallopt(_M_TRIM_THRESHOLD, kept_bytes)
