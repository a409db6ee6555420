"""Convert ONNX graphs to the oldest opset that can hold our networks, for devices with an old runtime.

PyTorch writes opset 18 or newer. All operators of our networks exist in opset 13 (ONNX 1.8, 2020), which is the first
with a scale per channel, as int8 files need it. Only the form of some nodes has changed since.
"""

from __future__ import annotations

from typing import Any

TRACED_OPSET = 18
"""The opset that PyTorch writes."""
OPSET, IR_VERSION = 13, 7
LEAST_RUNTIME = "1.15.1"
"""The oldest onnxruntime on which the files were tested; opset 13 is older, see docs/export.md."""
NEEDS = {"onnx": {"opset": OPSET, "ir_version": IR_VERSION, "onnxruntime": f">={LEAST_RUNTIME}"}}
"""A file's metadata about the runtime that it needs."""
EXACT = {"session.x64quantprecision": "1"}
"""The session option of onnxruntime that an int8 file needs on x86 processors without VNNI: see ``onnx_file``."""
INT8_NEEDS = {"onnx": {**NEEDS["onnx"], "session_config": EXACT}}

_REDUCTIONS = ("ReduceMean", "ReduceMax")
_SINCE_ADDED = {"BatchNormalization": "training_mode", **dict.fromkeys(_REDUCTIONS, "noop_with_empty_axes")}
"""Attributes newer than opset 13 whose value 0 means what opset 13 always does."""


def lower(proto: Any) -> None:
    """Convert an ONNX model from ``TRACED_OPSET`` to ``OPSET``, in place, with the same arithmetic and names.

    Afterwards, ``onnx.checker.check_model`` finds anything left that opset 13 does not have.
    """
    import onnx

    graph = proto.graph
    constants = {item.name: item for item in graph.initializer}
    for node in graph.node:
        if node.op_type in _REDUCTIONS and len(node.input) == 2:
            axes = onnx.numpy_helper.to_array(constants[node.input.pop()])
            node.attribute.append(onnx.helper.make_attribute("axes", [int(axis) for axis in axes]))
        _remove_attribute(node, _SINCE_ADDED.get(node.op_type), 0)
        if node.op_type == "Reshape" and node.input[1] in constants:
            if onnx.numpy_helper.to_array(
                constants[node.input[1]]
            ).all():  # allowzero matters only if the shape has a 0
                _remove_attribute(node, "allowzero", 1)
            _remove_attribute(node, "allowzero", 0)
    used = {name for node in graph.node for name in node.input}
    for name in constants.keys() - used:
        graph.initializer.remove(constants[name])
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    proto.ir_version = IR_VERSION


def _remove_attribute(node: Any, name: str | None, value: int) -> None:
    for attribute in list(node.attribute):
        if attribute.name == name and attribute.i == value:
            node.attribute.remove(attribute)
