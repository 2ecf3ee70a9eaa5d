"""The computer: middleware and shared memory, the model and what runs it, the load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from depth_estimation_ros.doctor.findings import Finding
from depth_estimation_ros.transport import (
    MEGABYTE,
    NEW_VARIABLE,
    OLD_VARIABLE,
    SHARED_MEMORY,
    is_fast_dds,
    size_segment,
    users_choice,
)

GREATEST_LOAD = 1.5


@dataclass(frozen=True)
class ModelFacts:
    """What opening and running the model here gave.

    Attributes:
        model: As the node's parameter has it.
        error: Why it does not run; None where it does.
        name, device, backend: Of the open model.
        run_ms: One inference at native size, after a first one.
        has_nvidia_gpu: Whether this machine has one.
        asked_device: The node's parameter.
    """

    model: str
    error: str | None = None
    name: str = ""
    device: str = ""
    backend: str = ""
    run_ms: float = 0.0
    has_nvidia_gpu: bool = False
    asked_device: str = "auto"


def check_transport(rmw: str, environment: Mapping[str, str], shared_memory: Path = SHARED_MEMORY) -> list[Finding]:
    """What the node sends passes through the middleware of this shell's environment."""
    if not is_fast_dds(rmw):
        return [Finding("OK", f"middleware {rmw}: it needs no profile of ours")]
    for name in (OLD_VARIABLE, NEW_VARIABLE):
        if environment.get(name) and not Path(environment[name]).is_file():
            return [
                Finding(
                    "ERROR",
                    f"{name} names {environment[name]}, which is no file, so Fast DDS runs without it",
                    f"correct or unset {name} where the node and the camera are started",
                )
            ]
    chosen = users_choice(environment)
    if chosen is not None:
        return [Finding("OK", f"Fast DDS with your own transport: {chosen} is {environment.get(chosen, 'here')}")]
    sized = size_segment(shared_memory)
    if sized.remark is not None:
        sentence, _, remedy = sized.remark.partition("; ")
        return [Finding("WARN", sentence, remedy or "give the container or the machine a /dev/shm of 64 MB or more")]
    return [
        Finding("OK", f"Fast DDS with the package's shared memory, {sized.segment_bytes // MEGABYTE} MB of it per node")
    ]


def check_model(facts: ModelFacts, running: str = "") -> list[Finding]:
    """The model opens, runs, and uses the GPU that there is.

    Args:
        facts: What opening and running it here gave.
        running: How a node that runs it says that it does; empty where none does.
    """
    if facts.error is not None and running:
        return [
            Finding(
                "WARN",
                f"the node runs {running}, but its model {facts.model!r} cannot be opened from here: {facts.error}",
                "to have it timed, start the doctor on the node's machine, in its folder and as its user",
            )
        ]
    if facts.error is not None:
        return [Finding("ERROR", f"model {facts.model!r} does not run here: {facts.error}", "do as the sentence says")]
    if facts.has_nvidia_gpu and facts.device == "cpu" and facts.asked_device == "auto":
        return [
            Finding(
                "WARN",
                f"model {facts.name} runs on the CPU ({facts.run_ms:.0f} ms), and there is an NVIDIA GPU",
                "install onnxruntime-gpu in place of onnxruntime, or use backend torch with a .pt2 model; "
                "device cpu if that is meant so",
            )
        ]
    what = f"model {facts.name} runs on {facts.device} by {facts.backend}"
    return [Finding("OK", f"{what}: {facts.run_ms:.0f} ms a frame")]


def check_load(load: float, core_count: int) -> list[Finding]:
    """The processors are not asked for more than they have.

    Args:
        load: Processes that wanted to run, averaged over the last minute.
        core_count: Processors.
    """
    if load > GREATEST_LOAD * core_count:
        return [
            Finding(
                "WARN",
                f"the load is {load:.1f} on {core_count} cores: depth waits for other programs",
                "see `top`; stop what is not needed, or set max_rate",
            )
        ]
    return [Finding("OK", f"the load is {load:.1f} on {core_count} cores")]
