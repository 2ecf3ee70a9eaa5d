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

exec(sys.argv[1])
size = int(sys.argv[2])
def frames(count):
    for _ in range(count):
        buffers = [bytearray(b"x") * size for _ in range(4)]
frames(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
frames(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
STOCK = "pass"
KEPT = "from depth_estimation_ros.allocator import keep_freed_buffers; keep_freed_buffers()"
TRAINING = """
import contextlib, io
from depth_training import cli
sys.argv[1:], given = ["--help"], sys.argv[1:]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main()
sys.argv[1:] = given
"""
CLOUD_BYTES = 4_915_200
ACTIVATIONS_BYTES = 80_000_000  # more than a node keeps


def pages_of_one_frame(size: int) -> int:
    return 4 * size // 4096


def faults(prepared_by: str, size: int = CLOUD_BYTES, **environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FRAMES, prepared_by, str(size)]
    return int(subprocess.run(command, env=clean | environment, capture_output=True, check=True, text=True).stdout)


def test_freed_buffers_are_used_again():
    assert faults(STOCK) > 10 * pages_of_one_frame(CLOUD_BYTES)
    assert faults(KEPT) < pages_of_one_frame(CLOUD_BYTES)


def test_it_does_what_the_variables_do_and_leaves_a_users_own_alone():
    by_variables = faults(STOCK, MALLOC_MMAP_THRESHOLD_="67108864", MALLOC_TRIM_THRESHOLD_="268435456")
    assert by_variables < pages_of_one_frame(CLOUD_BYTES)
    assert faults(KEPT, MALLOC_TRIM_THRESHOLD_="65536") > 10 * pages_of_one_frame(CLOUD_BYTES)


def test_training_keeps_the_buffers_of_a_step():
    pytest.importorskip("torch", reason="depth_training needs the train extra")
    assert faults(KEPT, ACTIVATIONS_BYTES) > 10 * pages_of_one_frame(ACTIVATIONS_BYTES)
    assert faults(TRAINING, ACTIVATIONS_BYTES) < pages_of_one_frame(ACTIVATIONS_BYTES)
