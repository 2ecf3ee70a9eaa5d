"""Looks into a `.pt2` program without torch: is it whole, does it hold data only, and what do its extra files say.

A `.pt2` is a zip archive. Most of it is JSON and raw tensors, but the format also has room for pickled Python objects
and for compiled native code, both of which run on loading, and its JSON for text that torch evaluates. An archive that
holds anything but data and a plain program is refused.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from pathlib import Path

from depth_estimation_ros.inference.errors import ModelFileError, first_line
from depth_estimation_ros.inference.pt2_program import foreign_part

# Below the archive's one root folder. Lower case, since torch finds members without regard to case.
_DATA_ONLY = re.compile(
    r"[^/]+/("
    r"models/model\.json"
    r"|data/weights/(weight_\d+|model(_weights_config\.json|\.pt))"
    r"|data/constants/(tensor_\d+|model(_constants_config\.json|\.pt))"
    r"|data/sample_inputs/model\.pt"
    r"|extra/[^/]+"
    r"|archive_format|archive_version|version|byteorder|\.data/\w+"
    r")"
)


def check_archive(path: Path) -> None:
    """Refuses a `.pt2` that is damaged, of another kind, or holds more than data and a plain program.

    Raises:
        ModelFileError: With what was found and what to do.
    """
    with _open(path) as archive:
        _refuse_unless_data(path, archive)
        for member in archive.namelist():
            if member.lower().endswith("/models/model.json"):
                _refuse_unless_plain(path, archive.read(member))


def read_extra_file(path: Path, name: str) -> str:
    """Returns the text of one extra file, after the checks of `check_archive`.

    Raises:
        ModelFileError: As `check_archive`, and where there is no such extra file or it is not UTF-8 text.
    """
    with _open(path) as archive:
        _refuse_unless_data(path, archive)
        members = [member for member in archive.namelist() if member.split("/", 1)[1] == f"extra/{name}"]
        if not members:
            raise ModelFileError(
                f"{path} carries no model contract (extra file {name!r}): "
                "export the network with `python -m depth_training export`"
            )
        try:
            return archive.read(members[0]).decode()
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{name} in {path} is not UTF-8 text: export the network again") from error


def _refuse_unless_plain(path: Path, program: bytes) -> None:
    try:
        foreign = foreign_part(json.loads(program))
    except ValueError as error:
        raise ModelFileError(f"{path} is damaged ({first_line(error)}): copy it again") from error
    if foreign is not None:
        raise ModelFileError(
            f"{path} holds {foreign[:80]!r} where a torch.export program has tensor operators and arithmetic of sizes, "
            "and torch would run it on loading: do not use this file unless you know who made it, and how"
        )


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{path} cannot be read as a .pt2 archive ({first_line(error)}): it is truncated or no torch.export "
            "program, so copy it again or export the network again"
        ) from error


def _refuse_unless_data(path: Path, archive: zipfile.ZipFile) -> None:
    foreign = [member for member in archive.namelist() if not _DATA_ONLY.fullmatch(member.lower())]
    if foreign:
        raise ModelFileError(
            f"{path} holds {foreign[0]!r}, which is no part of a plain torch.export program (the runtime never "
            "unpickles nor loads compiled code): export the network again with torch 2.9 or newer"
        )
    try:
        damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, zlib.error) as error:
        raise ModelFileError(f"{path} is damaged ({first_line(error)}): copy it again") from error
    if damaged is not None:
        raise ModelFileError(f"{path} is damaged at {damaged!r}: copy it again")
