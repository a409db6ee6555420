"""What newer versions of ONNX write otherwise, and opset 13 means all the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from thimble.exporting.formats import FORMATS
from thimble.exporting.opset import IR_VERSION, OPSET, lower

VALUES = np.arange(48, dtype=np.float32).reshape(2, 3, 2, 4)


def proto(rank: int, *nodes: onnx.NodeProto, **constants: list[int]) -> onnx.ModelProto:
    """A model of opset 18, from ``x`` (2, 3, 2, 4) to ``y``, which has so many dimensions."""
    initializers = [
        numpy_helper.from_array(np.array(values, dtype=np.int64), name) for name, values in constants.items()
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, VALUES.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, list("abcd")[:rank])]
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answer(model: onnx.ModelProto) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = session.run(None, {"x": VALUES})[0]
    return result


@pytest.mark.parametrize(
    "model",
    [
        proto(2, helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0, noop_with_empty_axes=0), axes=[2, 3]),
        proto(4, helper.make_node("ReduceMax", ["x", "axes"], ["y"]), axes=[1, -1]),
        proto(2, helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1), shape=[2, -1]),
        proto(2, helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=0), shape=[0, -1]),
        proto(
            4,
            helper.make_node("ReduceMean", ["x", "axes"], ["z"]),
            helper.make_node("ReduceMax", ["z", "axes"], ["y"]),
            axes=[3],
        ),
    ],
)
def test_the_same_arithmetic_in_older_words(model: onnx.ModelProto) -> None:
    expected = answer(model)
    lower(model)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET)
    assert np.array_equal(answer(model), expected)
    assert {item.name for item in model.graph.initializer} == {"shape"} & set(model.graph.node[0].input)


def test_what_opset_13_does_not_have_is_found_out() -> None:
    for node in (
        helper.make_node("Mish", ["x"], ["y"]),
        helper.make_node("ReduceMean", ["x"], ["y"], noop_with_empty_axes=1),
        helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),
    ):
        model = proto(4, node, shape=[0, 1])
        lower(model)
        with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
            onnx.checker.check_model(model, full_check=True)


def test_the_files_say_what_they_run_with() -> None:
    needs = {"opset": 13, "ir_version": 7, "onnxruntime": ">=1.15.1"}
    assert FORMATS["onnx"].needs == {"onnx": needs}
    exact = {"session_config": {"session.x64quantprecision": "1"}}  # on x86 processors without VNNI
    assert FORMATS["onnx-int8"].needs == {"onnx": needs | exact}
    assert not FORMATS["c"].needs
