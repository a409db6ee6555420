"""The oldest ONNX that holds our networks, for devices whose runtime is not of this year.

PyTorch writes opset 18 at the least. What our networks are made of was all there in opset 13 (ONNX 1.8, of 2020), the
first that knows a scale per channel, which int8 files need: only the form of some nodes has changed since.
"""

from __future__ import annotations

from typing import Any

TRACED_OPSET = 18
"""What PyTorch is asked for."""
OPSET, IR_VERSION = 13, 7
LEAST_RUNTIME = "1.15.1"
"""The oldest onnxruntime that the files were tried with; opset 13 is older, see docs/export.md."""
NEEDS = {"onnx": {"opset": OPSET, "ir_version": IR_VERSION, "onnxruntime": f">={LEAST_RUNTIME}"}}
"""What a file says of the runtime that it takes."""

_REDUCTIONS = ("ReduceMean", "ReduceMax")
_SINCE_ADDED = {"BatchNormalization": "training_mode", **dict.fromkeys(_REDUCTIONS, "noop_with_empty_axes")}
"""Attributes that say, as 0, what opset 13 does anyway."""


def lower(proto: Any) -> None:
    """Make an ONNX model of ``TRACED_OPSET`` one of ``OPSET``, in place: the same arithmetic, by the same names.

    ``onnx.checker.check_model`` tells whether something is left that opset 13 does not have.
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
            if onnx.numpy_helper.to_array(constants[node.input[1]]).all():  # it is about zeros in the shape
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
