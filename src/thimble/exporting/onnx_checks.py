"""An ONNX file of somebody's, looked through before a runtime is given it: is it a network as Thimble exports them?

A runtime takes whatever ONNX allows: tensors out of other files, loops, values of any size. What is let through here
has none of these: it has layers of known kinds, and no result too large for the memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

MOST_BYTES = 128 * 2**20
"""Of a file. That of the largest teacher has 42 MB."""
MOST_VALUES = 2**24
"""In the result of a layer for one image. At 32x32 pixels, those of the largest teacher have 131,072."""
_MOST_LAYERS = 2_000
_LARGEST_SETTING = 4096
"""Of a layer: its kernel, its padding, its axes."""

# fmt: off
OPERATORS = frozenset({
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Constant", "Conv", "DequantizeLinear", "Div",
    "Dropout", "Erf", "Flatten", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MatMul",
    "MaxPool", "Mul", "QuantizeLinear", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Softmax", "Sqrt",
    "Squeeze", "Sub", "Transpose", "Unsqueeze",
})
# fmt: on
"""What a network may be made of: all that exports have, and what older versions of ONNX write in its place."""


def parse(content: bytes) -> Any:
    """The file as an ``onnx.ModelProto``, looked through.

    Raises:
        ValueError: it is none, or of another kind than what Thimble exports; the reason is in a few words.
    """
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, of another module in each of its versions
        raise ValueError(" ".join(str(error).split())[:120]) from error
    graph = proto.graph
    if not graph.node:
        raise ValueError("it has no layers")
    if len(graph.node) > _MOST_LAYERS:
        raise ValueError(f"it has {len(graph.node):,} layers, expected at most {_MOST_LAYERS:,}")
    if proto.functions or proto.training_info or graph.sparse_initializer:
        raise ValueError("it has functions, a training, or sparse tensors of its own")
    for node in graph.node:
        _check_node(node)
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ValueError(f"its tensor {tensor.name[:50]!r} lies in another file")
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > len(content):
            raise ValueError(f"its tensor {tensor.name[:50]!r} has the shape {list(tensor.dims)[:8]}")
    return proto


def most_values(proto: Any) -> int:
    """How many values the largest result of a layer has, for one image.

    Raises:
        ValueError: more than ``MOST_VALUES``, or as many as no one knows.
    """
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as error:  # as above
        raise ValueError(" ".join(str(error).split())[:120]) from error
    shapes = {one.name: one.type.tensor_type.shape for one in (*graph.input, *graph.value_info, *graph.output)}
    largest = 0
    for node in graph.node:
        for name in filter(None, node.output):
            sizes = _sizes(shapes.get(name))
            if sizes is None or math.prod(sizes) > MOST_VALUES:
                raise ValueError(f"its layer {node.name[:50]!r} gives {'unknown' if sizes is None else sizes} values")
            largest = max(largest, math.prod(sizes))
    return largest


def _check_node(node: Any) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        raise ValueError(f"it has a layer of the kind {f'{node.domain} {node.op_type}'.strip()[:50]!r}")
    for attribute in node.attribute:
        if (
            attribute.HasField("g")
            or attribute.graphs
            or attribute.HasField("sparse_tensor")
            or attribute.ref_attr_name
        ):
            raise ValueError(f"its layer {node.name[:50]!r} holds a network of its own")
        if any(abs(value) > _LARGEST_SETTING for value in (attribute.i, *attribute.ints)):
            raise ValueError(f"its layer {node.name[:50]!r} has {attribute.name[:50]!r} beyond {_LARGEST_SETTING:,}")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _sizes(shape: Any) -> list[int] | None:
    """A shape for one image, whose first size may be free; None if it is not known, or another one is free."""
    if shape is None:
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in shape.dim]
    if sizes and sizes[0] is None:
        sizes[0] = 1
    known = [size for size in sizes if size is not None and size >= 0]
    return known if len(known) == len(sizes) else None
