"""Files that are there whole or not at all."""

import errno
import os

import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_training import files
from depth_training.files import is_full_disk, write_whole


@pytest.mark.parametrize("content", ["größer\n", b"\x00\xff", memoryview(b"abc")])
def test_what_is_written_is_there_and_nothing_beside_it(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else bytes(content))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, step):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match="No space left") as error_info:
        write_whole(path, b"after, and longer")
    assert is_full_disk(error_info.value)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_are_no_full_disk():
    assert not is_full_disk(PermissionError(errno.EACCES, "denied"))
