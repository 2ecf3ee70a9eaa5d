"""The rules of the model contract's keys, written as types, and the check of a JSON object against them.

A dataclass whose fields carry these types is a schema: `check_keys` says which keys of a JSON object are missing,
unknown or against their rule. A field of any other type is no JSON key.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class _Rule(NamedTuple):
    text: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12  # NaN fails too


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_pixel_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65536


def _is_row(value: Any, length: int, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == length and all(holds(item) for item in value)


Text = Annotated[str, _Rule("a string", lambda v: isinstance(v, str))]
Name = Annotated[str, _Rule("a string that is not empty", lambda v: isinstance(v, str) and v != "")]
OptionalName = Annotated[
    str | None, _Rule("a string that is not empty, or null", lambda v: v is None or (isinstance(v, str) and v != ""))
]
Pixels = Annotated[int, _Rule("a whole number from 1 to 65536", _is_pixel_count)]
Number = Annotated[float, _Rule("a finite number", _is_number)]
Positive = Annotated[float, _Rule("a number above 0", _is_positive)]
OptionalPositive = Annotated[float | None, _Rule("a number above 0, or null", lambda v: v is None or _is_positive(v))]
LowHigh = Annotated[
    tuple[float, float],
    _Rule("two numbers, the lower one first", lambda v: _is_row(v, 2, _is_number) and v[0] < v[1]),
]
AroundOne = Annotated[
    tuple[float, float],
    _Rule(
        "two numbers above 0, one at most 1 and one at least 1",
        lambda v: _is_row(v, 2, _is_positive) and v[0] <= 1 <= v[1],
    ),
]
Triple = Annotated[tuple[float, float, float], _Rule("three numbers", lambda v: _is_row(v, 3, _is_number))]
PositiveTriple = Annotated[
    tuple[float, float, float], _Rule("three numbers above 0", lambda v: _is_row(v, 3, _is_positive))
]
Metrics = Annotated[
    dict[str, Any],
    _Rule('an object that is empty or has a "protocol"', lambda v: isinstance(v, dict) and (not v or "protocol" in v)),
]


@dataclass
class Findings:
    """What is wrong with a JSON object, each entry naming its key in full (`input.mean`)."""

    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  #: "KEY is VALUE and must be RULE"

    def __str__(self) -> str:
        clauses = [f"missing keys: {', '.join(self.missing)}"] if self.missing else []
        clauses += [f"unknown keys: {', '.join(self.unknown)}"] if self.unknown else []
        return "; ".join(clauses + self.wrong)


def check_keys(document: Mapping[str, Any], schema: Any, prefix: str = "") -> Findings:
    """Compares a JSON object, and the objects in it, with a dataclass whose fields carry the types above."""
    findings = Findings()
    hints = get_type_hints(schema, include_extras=True)
    keys = {item.name: item for item in fields(schema) if _is_json_key(hints[item.name])}
    findings.unknown += [prefix + key for key in document if key not in keys]
    for key, item in keys.items():
        hint = hints[key]
        if key not in document:
            findings.missing += [prefix + key] if item.default is MISSING else []
        elif not is_dataclass(hint):
            findings.wrong += _broken_rule(prefix + key, document[key], hint)
        elif isinstance(document[key], Mapping):
            inner = check_keys(document[key], hint, f"{prefix}{key}.")
            findings.missing += inner.missing
            findings.unknown += inner.unknown
            findings.wrong += inner.wrong
        else:
            findings.wrong.append(f"{prefix}{key} must be an object")
    return findings


def _is_json_key(hint: Any) -> bool:
    return get_origin(hint) in (Annotated, Literal) or is_dataclass(hint)


def _broken_rule(key: str, value: Any, hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        holds, rule = value in choices, " or ".join(json.dumps(choice) for choice in choices)
    else:
        (_, rule_of_field) = get_args(hint)
        holds, rule = rule_of_field.holds(value), rule_of_field.text
    return [] if holds else [f"{key} is {reprlib.repr(value)} and must be {rule}"]
