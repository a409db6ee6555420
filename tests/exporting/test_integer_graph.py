"""The integer network: what it computes is what onnxruntime computes of the same file; what it cannot is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from exports_shared import integer_graph, quantised, seasoned, stand_in
from torch.nn import functional as F

from thimble.errors import UserError
from thimble.exporting import onnx_file
from thimble.exporting.integer_graph import Feature, IntegerGraph, Layer, read


@pytest.fixture(params=["reference", "thimble-78k"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def real(numbers: torch.Tensor, feature: Feature) -> torch.Tensor:
    return (numbers - feature.zero_point) * feature.scale


def computed(layer: Layer, known: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a layer means, in real numbers of float64: from (N, channels, height, width) to the same."""
    inputs = [real(known[feature.name], feature) for feature in layer.inputs]
    if layer.kind == "sum":
        return inputs[0] + inputs[1]
    if layer.kind == "average":
        return inputs[0].mean((2, 3), keepdim=True)
    assert layer.weights is not None
    assert layer.weight_scales is not None
    assert layer.bias is not None
    scales = torch.from_numpy(np.array(layer.weight_scales))
    weights = torch.from_numpy(layer.weights.astype(np.float64)).permute(0, 3, 1, 2) * scales[:, None, None, None]
    bias = torch.from_numpy(layer.bias.astype(np.float64)) * scales * layer.inputs[0].scale
    window = layer.window
    top, left = window.padding
    # The far sides of the padding show in the size alone; a pixel too many is cut off below.
    images = F.pad(inputs[0], (left, left + 1, top, top + 1))
    full = F.conv2d(images, weights, bias, stride=window.stride, dilation=window.dilation, groups=layer.groups)
    return full if layer.output is None else full[:, :, : layer.output.height, : layer.output.width]


def logits_of(graph: IntegerGraph, images: torch.Tensor) -> torch.Tensor:
    """Of uint8 images (N, height, width, 3), every layer's output rounded to its own steps."""
    looked_up = [torch.from_numpy(row)[images[..., colour].long()] for colour, row in enumerate(graph.table)]
    known = {graph.image.name: torch.stack(looked_up, 1).double()}
    for layer in graph.layers[:-1]:
        assert layer.output is not None
        values = computed(layer, known)
        values = values.relu() if layer.relu else values
        assert tuple(values.shape[1:]) == (layer.output.channels, layer.output.height, layer.output.width)
        known[layer.output.name] = ((values / layer.output.scale).round() + layer.output.zero_point).clamp(0, 255)
    return computed(graph.layers[-1], known)[:, :, 0, 0]


@pytest.mark.slow
def test_it_means_what_onnxruntime_computes(name: str, tmp_path: Path) -> None:
    deployment, file = quantised(name)
    (tmp_path / "model.onnx").write_bytes(file)
    inputs = deployment.inputs(stand_in().images[:50])
    expected = onnx_file.load(tmp_path / "model.onnx")(inputs)
    found = logits_of(read(file), inputs)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.98
    # Where a number is half-way between two steps, the one may take the other step.
    assert float((found - expected).abs().mean()) < 0.01 * float(expected.std())


def test_every_feature_is_made_before_it_is_used(name: str) -> None:
    graph = integer_graph(name)
    known = {graph.image.name}
    for layer in graph.layers:
        assert {feature.name for feature in layer.inputs} <= known
        known.add(layer.output.name if layer.output else "logits")
    assert [layer.output is None for layer in graph.layers] == [False] * (len(graph.layers) - 1) + [True]
    assert len(known) == len(graph.layers) + 1


def test_the_table_is_the_normalisation() -> None:
    graph, model = integer_graph("reference"), seasoned()
    assert (graph.table.shape, str(graph.table.dtype)) == ((3, 256), "uint8")
    pixels = torch.arange(256) / 255
    for row, mean, std in zip(graph.table, model.mean, model.std, strict=True):
        normalised = real(torch.from_numpy(row).double(), graph.image)
        torch.testing.assert_close(normalised, ((pixels - mean) / std).double(), rtol=0, atol=0.51 * graph.image.scale)


def _node(graph: Any, kind: str) -> Any:
    return next(node for node in graph.node if node.op_type == kind)


def _rename(kind: str, other: str) -> Callable[[Any], None]:
    return lambda graph: setattr(_node(graph, kind), "op_type", other)


def _pad_by_a_rule(graph: Any) -> None:
    _node(graph, "Conv").attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))


def _shift_the_weights(graph: Any) -> None:
    dequantize = next(node for node in graph.node if node.output[0] == _node(graph, "Conv").input[1])
    (point,) = (item for item in graph.initializer if item.name == dequantize.input[2])
    values = onnx.numpy_helper.to_array(point)
    point.CopyFrom(onnx.numpy_helper.from_array(np.ones_like(values), point.name))


def _mean_over_channels(graph: Any) -> None:
    node = _node(graph, "ReduceMean")
    next(item for item in node.attribute if item.name == "axes").ints[:] = [1]


def _weights_from_elsewhere(graph: Any) -> None:
    _node(graph, "Conv").input[1] = "images"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _rename("Conv", "ConvTranspose"),
            r"has ConvTranspose \(.*\), which the C file does not support: expected convolutions",
        ),
        (_rename("Gemm", "MatMul"), r"has MatMul \(.*\), .*use --format onnx$"),
        (_rename("Cast", "Identity"), "does not start with the normalisation of uint8 pixels"),
        (_pad_by_a_rule, "has automatic padding: expected numbers"),
        (_shift_the_weights, "have a zero point: expected none"),
        (_mean_over_channels, r"is a mean over axes \[1\]: expected height and width"),
        (_weights_from_elsewhere, "are not quantised: expected int8 constants"),
    ],
)
def test_what_the_c_file_cannot_do_is_refused(change: Callable[[Any], None], message: str) -> None:
    model = onnx.load_from_string(quantised("reference")[1])
    change(model.graph)
    with pytest.raises(UserError, match=message) as error:
        read(model.SerializeToString())
    assert "\n" not in str(error.value)


def test_a_file_without_integers_is_refused() -> None:
    with pytest.raises(UserError, match="has no quantised layers: expected convolutions; use --format onnx"):
        read(onnx_file.build_float(quantised("reference")[0]))
