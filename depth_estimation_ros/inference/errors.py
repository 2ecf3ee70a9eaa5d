"""What can go wrong around a model, each as one sentence with its remedy in it."""

from __future__ import annotations


class ModelFileError(ValueError):
    """The model file, or the contract it carries, cannot be used."""


class BackendError(ValueError):
    """The backend or the device asked for is unknown, or this machine does not have it."""


class InferenceError(RuntimeError):
    """One image could not be turned into depth; the predictor stays usable for the next."""


def first_line(error: BaseException) -> str:
    """What a library said, as a clause for our own sentence: its first line, or its type where it said nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(" .:") if lines else type(error).__name__
