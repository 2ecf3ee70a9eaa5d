"""What is known of one parameter besides its value: type, range, choices, and when a change takes effect."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

Applies = Literal["live", "configure", "start"]
"""When a change takes effect: on the next frame, on the next configure transition, or only where the node starts."""


class ParameterError(ValueError):
    """One or more values that break their rule; a sentence with the value, the rule and what to do."""


@dataclass(frozen=True)
class ParameterRule:
    """What is known of one parameter besides its value.

    Attributes:
        default: Its type is the parameter's type.
        least, greatest: Both allowed; None for text and switches.
        choices: The texts allowed, empty for any.
        per_camera: Whether one of several cameras may have a value of its own, as `front.scale` beside `scale`.
    """

    name: str
    default: bool | int | float | str | tuple[str, ...]
    description: str
    applies: Applies
    least: float | None = None
    greatest: float | None = None
    choices: tuple[str, ...] = ()
    per_camera: bool = False

    def check(self, value: Any) -> Any:
        """Return the value in the parameter's own type: an integer passes for a float, a YAML true for "true".

        Raises:
            ParameterError: Another type, not finite, out of range, or none of the choices.
        """
        if isinstance(value, bool) and str(value).lower() in self.choices:
            return str(value).lower()
        if isinstance(self.default, tuple):
            return self._check_names(value)
        wanted: Any = type(self.default)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise ParameterError(f"{self.name} is {value!r}: it must be {self._expected}; correct it")
        if isinstance(value, str):
            valid = not self.choices or value in self.choices
        else:
            valid = self.least is None or self.greatest is None or self.least <= value <= self.greatest
        if not valid or (isinstance(value, float) and not math.isfinite(value)):
            raise ParameterError(f"{self.name} is {value!r}: it must be {self._expected}; correct it")
        return value

    def _check_names(self, value: Any) -> tuple[str, ...]:
        # ROS has no type for an empty list: it comes as bytes, or as nothing at all.
        names = () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)
        are_names = all(isinstance(name, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in names)
        if isinstance(value, str) or not are_names or len(set(names)) < len(names):
            raise ParameterError(f"{self.name} is {value!r}: it must be {self._expected}; correct it")
        return names

    @property
    def _expected(self) -> str:
        if isinstance(self.default, tuple):
            return "a list of different names of letters, digits and underscores that do not begin with a digit"
        if self.choices:
            return " or ".join(map(repr, self.choices))
        if self.least is None:
            return {bool: "true or false", str: "text"}[type(self.default)]
        kind = {int: "a whole number", float: "a number"}[type(self.default)]
        return f"{kind} from {self.least:g} to {self.greatest:g}"
