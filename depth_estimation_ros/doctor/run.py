"""Listen, check, print: the doctor's command."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_estimation_ros.camera import is_rectified_topic
from depth_estimation_ros.doctor.camera_checks import (
    ImageFacts,
    check_calibration,
    check_encoding,
    check_images,
    check_publishers,
)
from depth_estimation_ros.doctor.findings import Finding, exit_status, to_text
from depth_estimation_ros.doctor.machine_checks import ModelFacts, check_load, check_model, check_transport
from depth_estimation_ros.doctor.node_checks import check_flow, check_outputs, check_pace, check_presence, check_state
from depth_estimation_ros.doctor.scan_checks import check_scan
from depth_estimation_ros.doctor.transform_checks import TransformFacts, check_transforms
from depth_estimation_ros.inference.errors import first_line
from depth_estimation_ros.inference.predictor import load_predictor
from depth_estimation_ros.parameter_rule import ParameterError
from depth_estimation_ros.parameters import RULES
from depth_estimation_ros.topics import sibling_camera_info
from depth_estimation_ros.transport import is_fast_dds

if TYPE_CHECKING:
    from rclpy.node import Node

    from depth_estimation_ros.doctor.collector import Collector
    from depth_estimation_ros.doctor.node_checks import NodeFacts

DISCOVERY_S = 4.0
"""A depth node speaks once a second, and discovery takes up to three."""

DIAGNOSTICS_S = 1.2
"""Within this a node speaks again, by default (once a second), of what happened while it was listened to."""

NVIDIA_DEVICES = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu")  # a card, or a Jetson
PERIOD = "diagnostics_period"
ASKED = ["model", "device", "backend", "num_threads", "assumed_hfov_deg", "optical_frame", "input_rectified"]
ASKED += ["image_transport", "use_sim_time", "camera_height", "scan.frame", "max_rate", PERIOD]


def main(args: list[str] | None = None) -> int:
    """Look at the running robot; 1 where something is wrong, 0 where nothing is, 2 for a wrong command line."""
    # The load before this process adds its own.
    load = os.getloadavg()[0]
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.utilities import remove_ros_args

    options = parse(remove_ros_args([sys.argv[0], *(sys.argv[1:] if args is None else args)])[1:])
    from depth_estimation_ros.doctor.collector import Collector

    rclpy.init(args=args)
    node = rclpy.create_node("depth_doctor")
    try:
        findings = examine_robot(node, Collector(node), options)
        rmw = rclpy.get_rmw_implementation_identifier()
        findings += check_transport(rmw, os.environ) + check_load(load, os.cpu_count() or 1)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    print(to_text(findings))
    return exit_status(findings)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="doctor", description="Says what is wrong with a robot's depth.")
    parser.add_argument("--base", default="base_link", help="frame that tf has to lead to (default: %(default)s)")
    parser.add_argument("--image", default="", help="camera topic to look at where no depth node runs")
    parser.add_argument("--seconds", type=float, default=5.0, help="time to listen to each camera (default: 5)")
    return parser.parse_args(arguments)


def examine_robot(node: Node, collector: Collector, options: argparse.Namespace) -> list[Finding]:
    """Everything that is seen through ROS, and the models that the nodes run."""
    from depth_estimation_ros.doctor.scan_listener import ScanListener

    collector.listen(DISCOVERY_S, lambda: collector.nodes)
    if not collector.nodes:
        collector.listen(longest_period_s(collector), lambda: collector.nodes)
    collector.listen(1.0)  # for further nodes, and tf
    seen = collector.nodes
    findings = check_presence(sorted({facts.name for facts in seen.values()}))
    models: dict[tuple[str, str, str, int], str] = {}
    told: set[str] = set()
    for key, facts in seen.items():
        parameters = parameters_of(collector, facts)
        received, close = collector.watch(facts.name, facts.values)
        scan = ScanListener(collector, facts, parameters)
        image, about_camera = examine_camera(node, collector, facts.values, parameters, options)
        count = len(received)
        collector.listen(max(DIAGNOSTICS_S, float(parameters[PERIOD]) + DIAGNOSTICS_S - 1))
        latest = collector.nodes[key]
        close()  # not earlier: the node may say of a frame in work that its listener has left
        scan.close()
        findings += about_camera + check_state(latest)
        # Of a node that is to be so slow a frame may not have fallen into this time.
        if not 0 < parameters["max_rate"] * options.seconds < 2:
            findings += check_flow(latest, image.encoding is not None, count, options.seconds)
        findings += check_pace(latest) + check_scan(scan.facts(image))
        if facts.name not in told:  # all cameras of a node at once
            findings += check_outputs(collector.outputs(facts.name))
            told.add(facts.name)
        asked = tuple(parameters[name] for name in ("model", "device", "backend", "num_threads"))
        models[asked] = running_model(latest.values) or models.get(asked, "")
    if not seen:
        if options.image:
            values = {"image topic": options.image}
            defaults = {name: rule.default for name, rule in RULES.items()}
            findings += examine_camera(node, collector, values, defaults, options)[1]
        models["default", "auto", "auto", 0] = ""
    return findings + [
        finding for model, running in sorted(models.items()) for finding in check_model(run_model(*model), running)
    ]


def running_model(values: Mapping[str, str]) -> str:
    """Which model a node says that it runs on what; empty where it has none open."""
    if not values.get("model"):
        return ""
    return f"model {values['model']} on {values.get('device')} by {values.get('backend')}"


def longest_period_s(collector: Collector) -> float:
    """Seconds between the diagnostics of the depth node that speaks most seldom; 0 where there is none."""
    names = {publisher.node for publisher in collector.publishers("/diagnostics")}
    answers = [collector.parameters(name, [PERIOD]).get(PERIOD) for name in sorted(names)]
    return max((answer for answer in answers if isinstance(answer, float)), default=0.0)


def parameters_of(collector: Collector, facts: NodeFacts) -> dict[str, Any]:
    """By parameter name, with a camera's own values where it has some."""
    given = collector.parameters(facts.name, ASKED)
    if facts.camera:
        names = [name for name in ASKED if name in RULES and RULES[name].per_camera]
        own = collector.parameters(facts.name, [f"{facts.camera}.{name}" for name in names])
        given |= {name.partition(".")[2]: value for name, value in own.items()}
    return {name: rule.default for name, rule in RULES.items()} | usable(given)


def usable(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a node's parameters are, without those that break their rule: the node itself says which these are."""
    kept = {}
    for name, value in given.items():
        try:
            kept[name] = RULES[name].check(value) if name in RULES else value
        except ParameterError:
            continue
    return kept


def examine_camera(
    node: Node,
    collector: Collector,
    values: Mapping[str, str],
    parameters: Mapping[str, Any],
    options: argparse.Namespace,
) -> tuple[ImageFacts, list[Finding]]:
    """One camera, and the way of its frame to the base."""
    import rclpy

    from depth_estimation_ros.doctor.camera_listener import COMPRESSED_TYPE, CameraListener

    topic = values["image topic"]
    types = {publisher.message_type for publisher in collector.publishers(topic)}
    compressed = parameters["image_transport"] == "compressed" or (types == {COMPRESSED_TYPE} and "state" not in values)
    listener = CameraListener(node, collector, topic, info_topic(values), compressed)
    collector.listen(options.seconds)
    listener.close()
    image = listener.image_facts(bool(parameters.get("use_sim_time")))
    rectified = is_rectified_topic(topic, parameters["input_rectified"])
    calibration = listener.calibration_facts(image, rectified, float(parameters["assumed_hfov_deg"]))
    frame = None if image.encoding is None else parameters["optical_frame"] or image.frame_id
    return image, [
        *check_publishers(image),
        *check_images(image, is_fast_dds(rclpy.get_rmw_implementation_identifier())),
        *check_encoding(image),
        *check_calibration(calibration),
        *check_transforms(TransformFacts(collector.edges, frame, options.base)),
    ]


def info_topic(values: Mapping[str, str]) -> str:
    """The CameraInfo topic that a node subscribes to, by its own word; else the sibling of its image topic."""
    image_topic = values["image topic"]
    prefix = "subscribed to "
    subscribed = [key.removeprefix(prefix) for key in values if key.startswith(prefix)]
    others = [topic for topic in subscribed if topic != image_topic]
    return others[0] if others else sibling_camera_info(image_topic)


def run_model(model: str, device: str, backend: str, num_threads: int) -> ModelFacts:
    """Open a model as the node would, and time one inference."""
    has_gpu = any(Path(path).exists() for path in NVIDIA_DEVICES)
    try:
        predictor = load_predictor(model, device, backend, num_threads)
        image_rgb = np.full((*predictor.contract.input.usual_size, 3), 128, np.uint8)
        predictor.predict(image_rgb)
        begin_s = time.perf_counter()
        predictor.predict(image_rgb)
        run_ms = (time.perf_counter() - begin_s) * 1000
    except Exception as error:  # whatever a backend raises is what the user has to read
        return ModelFacts(model, error=first_line(error))
    return ModelFacts(
        model, None, predictor.contract.name, predictor.device, predictor.backend_name, run_ms, has_gpu, device
    )
