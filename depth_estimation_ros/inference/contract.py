"""The contract between training and runtime: everything the runtime must know of a model, as one JSON document.

The JSON keys are the field names of `ModelContract`, with `input` and `output` as objects inside it. The type of
each field is also its rule: `ModelContract.from_json` and `ModelContract.to_json` refuse whatever breaks one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from depth_estimation_ros.inference.contract_rules import (
    AroundOne,
    LowHigh,
    Metrics,
    Name,
    Number,
    OptionalName,
    OptionalPositive,
    Pixels,
    Positive,
    PositiveTriple,
    Text,
    Triple,
    check_keys,
)
from depth_estimation_ros.inference.errors import ModelFileError, first_line

FORMAT_VERSION: Literal[1] = 1


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """What the network takes: one image (1, 3, h, w), any h and w that the size rule allows."""

    name: Name  #: the graph's input
    layout: Literal["NCHW"]
    colour_order: Literal["RGB", "BGR"]
    dtype: Literal["float32", "float16", "uint8"]
    range: LowHigh  #: what the bytes 0 and 255 become, before any normalisation: (0, 1), (0, 255), (-1, 1), …
    #: who subtracts `mean` and divides by `std`: the graph (then the two are recorded only), the runtime, or nobody
    normalisation: Literal["graph", "runtime", "none"]
    mean: Triple  #: in the units of `range` and the order of `colour_order`
    std: PositiveTriple  #: as `mean`
    resize_filter: Literal["area", "linear", "cubic"]  #: how training brought its images to network size
    native_height: Pixels  #: the size trained at
    native_width: Pixels
    size_multiple: Pixels  #: each side is a multiple of this many pixels,
    size_least: Pixels  #: at least this long
    size_most: Pixels  #: and at most this long
    #: least and greatest focal length that training has shown at native size, over the training camera's
    zoom_range: AroundOne = (1.0, 1.0)
    #: (height, width) where the graph itself takes one size only. Not a key: read from the graph, None where free.
    fixed_size: tuple[int, int] | None = None

    @property
    def usual_size(self) -> tuple[int, int]:
        """(h, w) to expect where no camera is known yet: the one that the graph takes, else the native size."""
        return self.fixed_size or (self.native_height, self.native_width)


@dataclass(frozen=True, kw_only=True)
class OutputContract:
    """What the network gives: a plane of (h / stride, w / stride) with `raw * scale + offset` being in `unit`."""

    name: Name  #: the graph's output
    stride: Pixels  #: network input pixels per output pixel
    quantity: Literal["z_depth", "inverse_z_depth"]  #: along the optical axis, not along the ray
    unit: Literal["m", "1/m"]  #: m for z_depth, 1/m for inverse_z_depth
    scale: Number = 1.0
    offset: Number = 0.0
    least_depth_m: Positive  #: predictions are clipped to these two, before any focal correction
    greatest_depth_m: Positive
    confidence_name: OptionalName = None  #: the graph's second output, same size as the first
    confidence_meaning: Literal["log_depth_sigma", None] = None  #: one standard deviation of ln(depth)

    @property
    def names(self) -> tuple[str, ...]:
        """The graph's outputs that are read, in order."""
        return (self.name,) if self.confidence_name is None else (self.name, self.confidence_name)


@dataclass(frozen=True, kw_only=True)
class ModelContract:
    """All that the runtime must know of one model, and where the model comes from."""

    format_version: Literal[1]
    name: Name
    encoder: Text
    decoder: Text
    licence: Text
    git_revision: Text
    training_data: Text
    metrics: Metrics  #: reported accuracy with the "protocol" it was measured by; {} where nobody measured
    input: InputContract
    output: OutputContract
    training_fx: OptionalPositive  #: focal lengths of the training camera in pixels at native size; null: unknown
    training_fy: OptionalPositive

    @property
    def training_focal_px(self) -> float | None:
        """The training camera's focal length in pixels at native size, sqrt(fx * fy); None where unknown."""
        if self.training_fx is None or self.training_fy is None:
            return None
        return math.sqrt(self.training_fx * self.training_fy)

    def to_json(self) -> str:
        """Returns the contract as the JSON document that goes into a model file.

        Raises:
            ModelFileError: A value breaks its rule; a model that the runtime would refuse is never written.
        """
        document = asdict(self)
        del document["input"]["fixed_size"]
        _refuse_if_wrong(document, f"the contract of model {self.name!r}")
        try:
            return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise ModelFileError(
                f"the contract of model {self.name!r} cannot be written as JSON ({error}): give metrics as finite "
                "plain numbers and strings"
            ) from error

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelContract:
        """Reads a contract and refuses, in one sentence, whatever is missing, unknown or against a rule.

        Args:
            text: The JSON document.
            source: Where it comes from, as the error's subject.

        Raises:
            ModelFileError: Not a JSON object, another format version, or any key missing, unknown or wrong.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"{source} is not valid JSON ({first_line(error)}): correct it") from error
        if not isinstance(document, dict):
            raise ModelFileError(
                f"{source} is a JSON {type(document).__name__}, not an object: write an object of keys"
            )
        _refuse_if_wrong(document, source)
        given = {key: _as_floats(value) for key, value in document["input"].items()}
        return cls(
            **{**document, "input": InputContract(**given), "output": OutputContract(**document["output"])},
        )


def _as_floats(value: Any) -> Any:
    return tuple(float(item) for item in value) if isinstance(value, list) else value


def _refuse_if_wrong(document: Mapping[str, Any], source: str) -> None:
    version = document.get("format_version", FORMAT_VERSION)
    if type(version) is not int or version != FORMAT_VERSION:
        raise ModelFileError(
            f"{source} has format_version {version!r}, but this release reads format_version {FORMAT_VERSION}: "
            "install the release that wrote the model, or export the model again with this one"
        )
    complaint = str(check_keys(document, ModelContract)) or "; ".join(_contradictions(document))
    if complaint:
        raise ModelFileError(
            f"{source} is no valid model contract ({complaint}): correct these keys or export the model again"
        )


def _contradictions(document: Mapping[str, Any]) -> list[str]:
    """Rules between two keys, once each key by itself is right."""
    given, taken = document["input"], document["output"]
    unit = {"z_depth": "m", "inverse_z_depth": "1/m"}[taken["quantity"]]
    recorded = any(given["mean"]) or any(value != 1 for value in given["std"])
    rules = {
        f'output.unit must be "{unit}" for output.quantity "{taken["quantity"]}"': taken["unit"] == unit,
        "output.least_depth_m must be below output.greatest_depth_m": (
            taken["least_depth_m"] < taken["greatest_depth_m"]
        ),
        "output.scale must not be 0": taken.get("scale", 1.0) != 0,
        "output.confidence_name and output.confidence_meaning go together": (
            (taken.get("confidence_name") is None) == (taken.get("confidence_meaning") is None)
        ),
        "input.size_least must not exceed input.size_most": given["size_least"] <= given["size_most"],
        'input.dtype "uint8" needs input.range [0, 255] and a normalisation that is not "runtime"': (
            given["dtype"] != "uint8" or (list(given["range"]) == [0, 255] and given["normalisation"] != "runtime")
        ),
        'input.normalisation "none" needs input.mean [0, 0, 0] and input.std [1, 1, 1], since nobody applies them': (
            given["normalisation"] != "none" or not recorded
        ),
        "training_fx and training_fy go together": (
            (document["training_fx"] is None) == (document["training_fy"] is None)
        ),
    }
    return [rule for rule, holds in rules.items() if not holds]
