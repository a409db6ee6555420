"""Check an untrusted ONNX file before a runtime loads it: is it a network like those that Thimble exports?

A runtime accepts everything that ONNX allows: tensors in other files, loops, tensors of any size. These checks accept
only layers of known types whose outputs fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

MOST_BYTES = 128 * 2**20
"""Largest file. The largest teacher's has 42 MB."""
MOST_VALUES = 2**24
"""Most values in a layer's output for one image. The largest teacher has 131,072 at 32x32 pixels."""
_MOST_LAYERS = 2_000
_LARGEST_SETTING = 4096
"""Largest integer attribute of a layer, such as its kernel size, padding or axes."""

# fmt: off
OPERATORS = frozenset({
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Constant", "Conv", "DequantizeLinear", "Div",
    "Dropout", "Erf", "Flatten", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MatMul",
    "MaxPool", "Mul", "QuantizeLinear", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Softmax", "Sqrt",
    "Squeeze", "Sub", "Transpose", "Unsqueeze",
})
# fmt: on
"""Operators that a network may have: those that exports use, and their equivalents in older versions of ONNX."""


def parse(content: bytes) -> Any:
    """Parse and check a file; return an ``onnx.ModelProto``.

    Raises:
        ValueError: it is not an ONNX file, or not like those that Thimble exports; with a short reason.
    """
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own type, which moves between modules from version to version
        raise ValueError(" ".join(str(error).split())[:120]) from error
    graph = proto.graph
    if not graph.node:
        raise ValueError("it has no layers")
    if len(graph.node) > _MOST_LAYERS:
        raise ValueError(f"it has {len(graph.node):,} layers, expected at most {_MOST_LAYERS:,}")
    if proto.functions or proto.training_info or graph.sparse_initializer:
        raise ValueError("it has functions, training information or sparse tensors")
    for node in graph.node:
        _check_node(node)
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ValueError(f"its tensor {tensor.name[:50]!r} is in another file")
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > len(content):
            raise ValueError(f"its tensor {tensor.name[:50]!r} has the shape {list(tensor.dims)[:8]}")
    return proto


def most_values(proto: Any) -> int:
    """The number of values in the largest output of any layer, for one image.

    Raises:
        ValueError: it is more than ``MOST_VALUES``, or unknown.
    """
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as error:  # protobuf's or ONNX's own types
        raise ValueError(" ".join(str(error).split())[:120]) from error
    shapes = {one.name: one.type.tensor_type.shape for one in (*graph.input, *graph.value_info, *graph.output)}
    largest = 0
    for node in graph.node:
        for name in filter(None, node.output):
            sizes = _sizes(shapes.get(name))
            if sizes is None or math.prod(sizes) > MOST_VALUES:
                shown = "a shape that is not known" if sizes is None else f"the shape {sizes}"
                raise ValueError(f"its layer {node.name[:50]!r} has an output of {shown}")
            largest = max(largest, math.prod(sizes))
    return largest


def _check_node(node: Any) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        raise ValueError(f"it has a layer of type {f'{node.domain} {node.op_type}'.strip()[:50]!r}")
    for attribute in node.attribute:
        if (
            attribute.HasField("g")
            or attribute.graphs
            or attribute.HasField("sparse_tensor")
            or attribute.ref_attr_name
        ):
            raise ValueError(f"its layer {node.name[:50]!r} contains a graph")
        if any(abs(value) > _LARGEST_SETTING for value in (attribute.i, *attribute.ints)):
            raise ValueError(f"its layer {node.name[:50]!r} has {attribute.name[:50]!r} above {_LARGEST_SETTING:,}")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _sizes(shape: Any) -> list[int] | None:
    """A shape for one image: a variable first size counts as 1. None if the shape or another size is unknown."""
    if shape is None:
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in shape.dim]
    if sizes and sizes[0] is None:
        sizes[0] = 1
    known = [size for size in sizes if size is not None and size >= 0]
    return known if len(known) == len(sizes) else None
