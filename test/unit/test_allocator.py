"""Freed image buffers are used again: the system is not asked for fresh pages, each of which costs a fault."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")

# Four buffers of a full-size cloud, taken and freed together as one frame's are, twenty times over.
FRAMES = """
import resource, sys
from depth_estimation_ros.allocator import keep_freed_buffers

if sys.argv[1] == "kept":
    keep_freed_buffers()
def frames(count):
    for _ in range(count):
        buffers = [bytearray(b"x") * 4_915_200 for _ in range(4)]
frames(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
frames(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES_OF_ONE_FRAME = 4 * 4_915_200 // 4096


def faults(how: str, **environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FRAMES, how]
    return int(subprocess.run(command, env=clean | environment, capture_output=True, check=True, text=True).stdout)


def test_freed_buffers_are_used_again():
    assert faults("stock") > 10 * PAGES_OF_ONE_FRAME
    assert faults("kept") < PAGES_OF_ONE_FRAME


def test_it_does_what_the_variables_do_and_leaves_a_users_own_alone():
    by_variables = faults("stock", MALLOC_MMAP_THRESHOLD_="67108864", MALLOC_TRIM_THRESHOLD_="268435456")
    assert by_variables < PAGES_OF_ONE_FRAME
    assert faults("kept", MALLOC_TRIM_THRESHOLD_="65536") > 10 * PAGES_OF_ONE_FRAME
