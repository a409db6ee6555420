"""ONNX files that a runtime would take, and Thimble refuses before it runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from exported_files import Change, refusal, rewrite
from exports_shared import quantised, seasoned
from onnx import TensorProto, helper

from thimble.exporting import onnx_file
from thimble.exporting.export import describe
from thimble.exporting.exported import open_exported


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, outputs, name=kind.lower(), **attributes)


def swollen(proto: Any, _: dict[str, Any]) -> None:
    """A convolution whose padding makes of 32x32 pixels 8224x8224."""
    first = next(one for one in proto.graph.node if one.op_type == "Conv")
    next(one for one in first.attribute if one.name == "pads").ints[:] = [4096] * 4


def outer(proto: Any, _: dict[str, Any]) -> None:
    """The sum of a row and a column, a hundred thousand long: 40 GB out of a file of 800 kB."""
    for name, shape in (("row", [1, 10**5]), ("column", [10**5, 1])):
        proto.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, shape, bytes(4 * 10**5), raw=True))
    proto.graph.node.append(node("Add", ["row", "column"], ["sum"]))


def looping(proto: Any, _: dict[str, Any]) -> None:
    body = helper.make_graph([], "body", [], [])
    proto.graph.node.append(node("Loop", ["", ""], ["never"], body=body))


def hidden(proto: Any, _: dict[str, Any]) -> None:
    proto.graph.node.append(node("Relu", ["images"], ["x"], inside=helper.make_graph([], "inside", [], [])))


def foreign(proto: Any, _: dict[str, Any]) -> None:
    proto.graph.node[3].domain = "com.example"


def shapeless(proto: Any, _: dict[str, Any]) -> None:
    proto.graph.initializer[0].dims[0] = 2**40


def negative(proto: Any, _: dict[str, Any]) -> None:
    proto.graph.initializer[0].dims[0] = -1


def empty(proto: Any, _: dict[str, Any]) -> None:
    del proto.graph.node[:]


def endless(proto: Any, _: dict[str, Any]) -> None:
    for number in range(2_000):
        proto.graph.node.append(node("Relu", ["images"], [f"x{number}"]))


def unknown(proto: Any, _: dict[str, Any]) -> None:
    """A shape that the batch decides: nobody can say how large it becomes."""
    proto.graph.node.append(node("Transpose", ["images"], ["turned"], perm=[3, 2, 1, 0]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (swollen, "an output of the shape [1, 16, 8222, 8222]"),
        (outer, "an output of the shape [100000, 100000]"),
        (looping, "a layer of type 'Loop'"),
        (hidden, "contains a graph"),
        (foreign, "a layer of type 'com.example "),
        (shapeless, "has the shape [1099511627776"),
        (negative, "has the shape [-1"),
        (empty, "it has no layers"),
        (endless, "layers, expected at most 2,000"),
        (unknown, "an output of a shape that is not known"),
    ],
)
def test_what_a_runtime_would_have_taken(exported: Path, tmp_path: Path, change: Change, reason: str) -> None:
    assert reason in refusal(rewrite(exported, tmp_path / "model.onnx", change))


def test_an_int8_file_is_looked_through_too(tmp_path: Path) -> None:
    proto = onnx.load_from_string(quantised("reference")[1])
    metadata = describe(seasoned(), {}, "0" * 64, preprocess=True, softmax=False)
    proto.metadata_props[0].value = json.dumps(metadata)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    assert open_exported(tmp_path / "model.onnx").batch == 500


def test_a_file_of_a_fixed_batch_is_not_ours(exported: Path, tmp_path: Path) -> None:
    def fix(proto: Any, _: dict[str, Any]) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2

    assert "takes tensor(uint8) [2, 32, 32, 3]" in refusal(rewrite(exported, tmp_path / "model.onnx", fix))


def test_threads_and_shapes_of_the_function(exported: Path) -> None:
    run = onnx_file.load(exported, threads=1)
    assert run(torch.zeros(3, 32, 32, 3, dtype=torch.uint8)).shape == (3, 10)
