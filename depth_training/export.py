"""From a checkpoint to the files that a robot runs: ONNX, and a ``torch.export`` program for CUDA."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from onnx import TensorProto, helper, numpy_helper

from depth_estimation_ros.inference.model_file import CONTRACT_FILE, CONTRACT_KEY, ModelContract
from depth_training.checkpoint import (
    LEAST_HALF_ELEMENTS,
    Network,
    load_checkpoint,
    round_weights_to_half,
    save_checkpoint,
)
from depth_training.network.one_channel import with_shifted_sums
from depth_training.network.split_norms import with_split_norms

OPSET = 18


class ExportError(ValueError):
    """An export that was asked for in a way that cannot be met; the message says what to do."""


def _dynamic_program(network: Network, contract: ModelContract) -> torch.export.ExportedProgram:
    """Trace with height and width left free, so that any camera's aspect ratio runs."""
    sides = {"min": contract.input.size_least, "max": contract.input.size_most}
    # An odd-looking example size: equal or round sides would let the tracer take one for the other or for a constant.
    example = torch.rand(1, 3, 232, 312)
    dynamic = {2: torch.export.Dim("height", **sides), 3: torch.export.Dim("width", **sides)}
    return torch.export.export(network, (example,), dynamic_shapes=(dynamic,))


def store_weights_as_half(model: onnx.ModelProto) -> None:
    """Replace large float32 initialisers by float16 ones behind a Cast, which the runtime folds when it loads.

    Computation stays in float32: only the file halves.
    """
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or np.prod(tensor.dims) < LEAST_HALF_ELEMENTS:
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer[index].CopyFrom(half)
    for cast in reversed(casts):
        graph.node.insert(0, cast)


def export_onnx(network: Network, contract: ModelContract, path: Path, half: bool = True) -> Path:
    """Write a network in evaluation mode as ONNX with its contract in the metadata.

    Args:
        network: In evaluation mode.
        contract: What the runtime must know.
        path: Ends in ``.onnx``.
        half: Store large weights as float16.
    """
    # Fewer weights are not rounded, and in this form they would be.
    program = torch.onnx.export(
        _dynamic_program(with_split_norms(with_shifted_sums(network, LEAST_HALF_ELEMENTS)), contract),
        input_names=[contract.input.name],
        output_names=list(contract.output.names),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
        external_data=False,
        # Its optimiser folds BatchNorm into new weights, which half precision would round once more.
        optimize=False,
    )
    assert program is not None  # only None with a file name
    # Constants only; the runtime folds BatchNorm when it loads, after the weights are back in float32.
    onnxscript.optimizer.inline(program.model)
    onnxscript.optimizer.fold_constants(program.model)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    if half:
        store_weights_as_half(model)
    # The tracer's notes hold paths and source lines of the machine that exported.
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    entry = model.metadata_props.add()
    entry.key, entry.value = CONTRACT_KEY, contract.to_json()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def export_program(network: Network, contract: ModelContract, path: Path) -> Path:
    """Write a network in evaluation mode as a ``torch.export`` program with its contract beside the graph."""
    torch.export.save(_dynamic_program(network, contract), path, extra_files={CONTRACT_FILE: contract.to_json()})
    return path


def narrow_zoom(contract: ModelContract, zoom: tuple[float, float]) -> ModelContract:
    """Let a contract claim less than was trained.

    Raises:
        ExportError: ``zoom`` is no range round 1, or reaches beyond what was trained.
    """
    (low, high), (least, greatest) = zoom, contract.input.zoom_range
    if not least <= low <= 1 <= high <= greatest:
        raise ExportError(
            f"--zoom {low:g} {high:g}: training showed {least:g} to {greatest:g} times the training camera's focal "
            "length; give two numbers within that, with 1 between them"
        )
    return dataclasses.replace(contract, input=dataclasses.replace(contract.input, zoom_range=(low, high)))


def export_checkpoint(
    checkpoint: Path,
    output: Path,
    half: bool = True,
    metrics: dict | None = None,
    zoom: tuple[float, float] | None = None,
) -> Path:
    """Export a checkpoint in the format that the ending of ``output`` names.

    Args:
        checkpoint: ``model.safetensors`` of a run.
        output: ``.onnx``, ``.pt2``, or ``.safetensors`` for a checkpoint to keep.
        half: Round large weights to float16, and store them so (a ``.pt2`` stores them as float32): every format then
            holds the same numbers.
        metrics: Result of an evaluation for the contract, in place of the validation metrics of the run.
        zoom: ``zoom_range`` for the contract, in place of all that training showed.

    Raises:
        ExportError: Another ending, or a ``zoom`` beyond what training showed.
        CheckpointError: The checkpoint cannot be used.
    """
    network, contract = load_checkpoint(checkpoint)
    if half:
        round_weights_to_half(network)
    if metrics is not None:
        contract = dataclasses.replace(contract, metrics=metrics)
    if zoom is not None:
        contract = narrow_zoom(contract, zoom)
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix == ".onnx":
        return export_onnx(network, contract, output, half)
    if output.suffix == ".pt2":
        return export_program(network, contract, output)
    if output.suffix == ".safetensors":
        return save_checkpoint(network, contract, output, half)
    raise ExportError(
        f"cannot export to {output}: its name must end in .onnx (ONNX Runtime), .pt2 (PyTorch) or .safetensors"
    )
