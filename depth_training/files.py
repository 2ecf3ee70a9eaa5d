"""Files that are there whole or not at all, and disks that are full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# EFBIG: the process may not write files of this size, which to the user is the same.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file so that whoever reads it finds all of it or what was there before, however the process ends.

    Args:
        path: What to write; its folder exists.
        content: Text becomes UTF-8.

    Raises:
        OSError: It could not be written; what was there before is untouched.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            # Without this a machine that loses power may keep the new name and none of the content.
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def is_full_disk(error: OSError) -> bool:
    """Whether an error says that there is no more room to write."""
    return error.errno in FULL_DISK
