"""How large a model is and how much it computes, counted in the file itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from depth_estimation_ros.inference.torch_backend import load_program
from depth_training.checkpoint import load_checkpoint
from depth_training.reproduction.efficiency import multiply_adds

CONVOLUTIONS, PRODUCTS = ("Conv", "ConvTranspose"), ("MatMul", "Gemm")


def count(path: Path, size: tuple[int, int] | None) -> tuple[int, int | None]:
    """Numbers in the weights of a model, and its multiply-adds for one image.

    Args:
        path: ``.onnx``, ``.pt2`` or ``.safetensors``.
        size: (h, w) of the image; None where nobody knows it.

    Returns:
        The two; None for the multiply-adds where the size is unknown.
    """
    if path.suffix == ".onnx":
        model = onnx.load(path)
        return onnx_parameters(model), None if size is None else onnx_multiply_adds(model, size)
    if path.suffix == ".pt2":
        program = load_program(path)
        parameters = sum(parameter.numel() for parameter in program.parameters())
        return parameters, None if size is None else multiply_adds(program.module(), *size)
    network, _ = load_checkpoint(path)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters, None if size is None else multiply_adds(network, *size)


def onnx_parameters(model: onnx.ModelProto) -> int:
    """Floating-point numbers among a graph's initialisers that can have been learnt.

    BatchNorm's statistics are not; nor are single numbers, which are settings, and the zeros that exporters give to
    convolutions without a bias.
    """
    statistics = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:]}
    biases = {name for node in model.graph.node if node.op_type in CONVOLUTIONS for name in node.input[2:]}
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
    return sum(
        int(np.prod(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.data_type in floats
        and np.prod(tensor.dims) > 1
        and tensor.name not in statistics
        and not (tensor.name in biases and not numpy_helper.to_array(tensor).any())
    )


def onnx_multiply_adds(model: onnx.ModelProto, size: tuple[int, int]) -> int | None:
    """Multiply-adds of all convolutions and matrix products of a graph for one image of (h, w) pixels.

    Shapes that follow from the size are known only when the graph runs, so it is run once on zeros, with what goes
    into and out of every counted node among its outputs.

    Returns:
        None where the graph does not run at this size.
    """
    counted = list(_counted_nodes(model.graph))
    wanted = {name for node in counted for name in (node.input[0], node.input[1], node.output[0])}
    initialisers = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    there = {item.name for item in probe.graph.output} | {item.name for item in probe.graph.input} | set(initialisers)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - there))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
        [given] = session.get_inputs()
        zeros = np.zeros(
            (1, 3, *size), {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}.get(given.type, np.float32)
        )
        outputs = session.run(None, {given.name: zeros})
    except Exception:  # onnxruntime's errors share no base class of their own
        return None
    shapes = {item.name: np.shape(value) for item, value in zip(session.get_outputs(), outputs, strict=True)}
    shapes |= initialisers | {given.name: zeros.shape}
    return sum(_node_multiply_adds(node, shapes) for node in counted)


def _counted_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    return (node for node in graph.node if node.op_type in CONVOLUTIONS + PRODUCTS)


def _node_multiply_adds(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    taken, weight, given = (shapes[name] for name in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "Conv":
        return int(np.prod(given) * np.prod(weight[1:]))
    if node.op_type == "ConvTranspose":
        return int(np.prod(taken) * np.prod(weight[1:]))
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return int(np.prod(given) * taken[0 if transposed else -1])
