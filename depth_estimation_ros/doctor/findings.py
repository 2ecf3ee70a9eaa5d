"""What a check says: a level, one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["OK", "WARN", "ERROR"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        level: ERROR where depth or cloud does not come or is wrong, WARN where it is doubtful or could not be seen.
        sentence: What is so.
        remedy: What to do; empty where nothing is wrong.
    """

    level: Level
    sentence: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if bool(self.remedy) != (self.level != "OK"):
            raise ValueError(f"a finding of level {self.level} with remedy {self.remedy!r}: faults alone have a remedy")


def to_text(findings: Iterable[Finding]) -> str:
    """The report: a line for each finding, its remedy below it, and the sum."""
    lines, counts = [], {"ERROR": 0, "WARN": 0, "OK": 0}
    for finding in findings:
        counts[finding.level] += 1
        lines.append(f"{finding.level:5}  {finding.sentence}")
        if finding.remedy:
            lines.append(f"       -> {finding.remedy}")
    return "\n".join([*lines, "", f"errors: {counts['ERROR']}, warnings: {counts['WARN']}, well: {counts['OK']}"])


def exit_status(findings: Iterable[Finding]) -> int:
    """1 where anything is an error, else 0: a warning does not stop a robot."""
    return int(any(finding.level == "ERROR" for finding in findings))
