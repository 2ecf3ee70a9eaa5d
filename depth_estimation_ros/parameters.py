"""Every parameter of the node once: name, default, range, description, and when a change takes effect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from depth_estimation_ros.parameter_rule import Applies, ParameterError, ParameterRule


def _parameter(
    default: bool | int | float | str | tuple[str, ...],
    description: str,
    applies: Applies = "live",
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    per_camera: bool = False,
) -> Any:
    least, greatest = bounds or (None, None)
    rule = ParameterRule("", default, description, applies, least, greatest, choices, per_camera)
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class Parameters:
    """One consistent set of valid values."""

    image_transport: str = _parameter(
        "raw", "What arrives on the image topic.", "configure", choices=("raw", "compressed"), per_camera=True
    )
    cameras: tuple[str, ...] = _parameter(
        (), "Names of several cameras, each with its topics in a namespace of that name; empty: one.", "configure"
    )
    model: str = _parameter("default", "Name of a bundled model, or the path of an .onnx or .pt2 file.", "configure")
    device: str = _parameter(
        "auto", "auto (CUDA where there is one, else the CPU), cpu, cuda, or cuda:N for one of several.", "configure"
    )
    backend: str = _parameter("auto", "What runs the model.", "configure", choices=("auto", "onnxruntime", "torch"))
    num_threads: int = _parameter(0, "CPU threads of one inference; 0: the backend's choice.", "configure", (0, 256))
    optical_frame: str = _parameter(
        "", "frame_id of all outputs; empty: the one that the camera sends.", per_camera=True
    )
    input_rectified: str = _parameter(
        "auto",
        "Whether images are rectified already; auto: where the topic's last name starts with image_rect.",
        choices=("auto", "true", "false"),
        per_camera=True,
    )
    assumed_hfov_deg: float = _parameter(
        0.0,
        "Horizontal field of view in degrees of a camera without calibration; 0: assume none.",
        bounds=(0, 179),
        per_camera=True,
    )
    focal_correction: bool = _parameter(
        True, "Scale depth by this camera's focal length over that of the camera the model was trained with."
    )
    scale: float = _parameter(
        1.0, "Factor on all depth, after the focal correction.", bounds=(0.01, 100), per_camera=True
    )
    min_range: float = _parameter(0.0, "Depth in metres below which a pixel is -Inf.", bounds=(0, 1000))
    max_range: float = _parameter(10.0, "Depth in metres above which a pixel is +Inf.", bounds=(0.01, 1000))
    min_confidence: float = _parameter(
        0.0, "Confidence below which depth is unknown, where the model gives confidence; 0: off.", bounds=(0, 1)
    )
    output_size: str = _parameter(
        "network",
        "Size of the images that go out, the cloud apart: the network's, or the rectified camera image's.",
        choices=("network", "camera"),
    )
    depth_encoding: str = _parameter(
        "32FC1", "Depth image in metres (32FC1) or millimetres (16UC1).", choices=("32FC1", "16UC1")
    )
    points_stride: int = _parameter(2, "Depth pixels between the cloud's points, in both directions.", bounds=(1, 32))
    points_color: bool = _parameter(True, "Colour the cloud's points by the image.")
    points_max_range: float = _parameter(
        0.0, "Depth in metres above which the cloud has no points; 0: max_range.", bounds=(0, 1000)
    )
    points_filter: bool = _parameter(True, "Leave points out of cloud and scan that float between two surfaces.")
    points_filter_threshold: float = _parameter(
        0.015,
        "Relative change of depth per network pixel, above that of the surroundings, from which a point floats.",
        bounds=(0.001, 1),
    )
    scan_frame: str = _parameter(
        "",
        "Frame of the scan, with z up, found by tf2; empty: the camera's foot, from camera_height.",
        "configure",
        per_camera=True,
    )
    scan_min_height: float = _parameter(
        0.15, "Height in metres above the floor below which nothing is an obstacle.", bounds=(-10, 100)
    )
    scan_max_height: float = _parameter(
        1.6, "Height in metres above the floor above which nothing is an obstacle.", bounds=(-10, 100)
    )
    camera_height: float = _parameter(
        0.0,
        "Metres from the floor to the camera; 0: unknown, or what tf2 says of scan.frame.",
        bounds=(0, 100),
        per_camera=True,
    )
    camera_pitch: float = _parameter(
        0.0, "Degrees by which the camera looks down, used without scan.frame.", bounds=(-90, 90), per_camera=True
    )
    floor_scale: bool = _parameter(
        False,
        "Follow the scale by which the floor lies where camera_height says, from 0.7 to 1.4 times scale.",
        per_camera=True,
    )
    max_network_pixels: int = _parameter(
        0, "Most pixels of the network image; 0: one and a half times the model's native number.", bounds=(0, 1 << 24)
    )
    max_rate: float = _parameter(
        0.0, "Most frames per second to work on; 0: all there is time for.", bounds=(0, 1000), per_camera=True
    )
    diagnostics_period: float = _parameter(1.0, "Seconds between two diagnostics.", bounds=(0.05, 60))
    autostart: bool = _parameter(
        True, "Configure and activate at start; set to false under a lifecycle manager.", "start"
    )

    @classmethod
    def from_values(cls, values: Mapping[str, Any], camera: str = "") -> Parameters:
        """Check values by parameter name; those left out keep their defaults.

        Args:
            values: May hold some of single cameras, as `front.scale`; None is none.
            camera: Whose values go before those that hold for all; "" for none's.

        Raises:
            ParameterError: Names all that is wrong.
        """
        checked, complaints = {}, []
        for name, rule in RULES.items():
            own = f"{camera}.{name}"
            if camera and rule.per_camera and values.get(own) is not None:
                rule, value = replace(rule, name=own), values[own]
            elif name in values:
                value = values[name]
            else:
                continue
            try:
                checked[_FIELD_NAMES[name]] = rule.check(value)
            except ParameterError as error:
                complaints.append(str(error))
        parameters = cls(**checked)
        # A value that is wrong by itself has had its complaint; comparing its default would make up another.
        for lower, upper in _ORDERED if not complaints else ():
            least, most = (getattr(parameters, _FIELD_NAMES[name]) for name in (lower, upper))
            if least >= most:
                complaints.append(
                    f"{lower} is {least:g} and {upper} {most:g}: {lower} must be the lower one; correct one of them"
                )
        if not complaints and not camera and len(parameters.cameras) > 1 and parameters.optical_frame:
            complaints.append(
                f"optical_frame is {parameters.optical_frame!r} and there are {len(parameters.cameras)} cameras, which "
                f"cannot share a frame: leave it empty, and set {parameters.cameras[0]}.optical_frame and so on"
            )
        if complaints:
            raise ParameterError("; ".join(complaints))
        return parameters

    def with_live(self, newer: Parameters) -> Parameters:
        """Take over from `newer` what may change while the node works."""
        live = [_FIELD_NAMES[rule.name] for rule in RULES.values() if rule.applies == "live"]
        return replace(self, **{name: getattr(newer, name) for name in live})


# Field names cannot hold the dot that groups the parameters of one output.
_FIELD_NAMES = {re.sub(r"^(points|scan)_", r"\1.", field_.name): field_.name for field_ in fields(Parameters)}
_ORDERED = (("min_range", "max_range"), ("scan.min_height", "scan.max_height"))
RULES: dict[str, ParameterRule] = {
    name: replace(field_.metadata["rule"], name=name)
    for name, field_ in zip(_FIELD_NAMES, fields(Parameters), strict=True)
}


def own_rules(cameras: Iterable[str]) -> dict[str, ParameterRule]:
    """The rules of what each of several cameras may have for itself, as `front.scale`; not set, `scale` holds."""
    return {
        f"{camera}.{name}": replace(
            rule,
            name=f"{camera}.{name}",
            description=f"{rule.description} Of this camera alone, in place of {name}.",
        )
        for camera in cameras
        for name, rule in RULES.items()
        if rule.per_camera
    }


def refusal(changes: Mapping[str, Any], current: Mapping[str, Any]) -> str | None:
    """Say in one sentence why some changes to the current values cannot be taken; None if they can.

    A current value that is wrong already does not stand in the way of correcting another.
    """
    judged = dict(changes)
    pairs = (*_ORDERED, ("cameras", "optical_frame"))
    for name, other in (*pairs, *((other, name) for name, other in pairs)):
        if name in changes and other not in changes and _is_valid(other, current.get(other)):
            judged[other] = current.get(other)
    cameras = dict.fromkeys(name.partition(".")[0] for name in changes if name not in RULES)
    for camera in ("", *cameras):
        try:
            Parameters.from_values(judged, camera)
        except ParameterError as error:
            return str(error)
    return None


def _is_valid(name: str, value: Any) -> bool:
    try:
        RULES[name].check(value)
    except ParameterError:
        return False
    return True
