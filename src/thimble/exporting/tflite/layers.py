"""Turn the integer network into the tensors and operators of a ``.tflite`` file.

TensorFlow Lite computes with int8 where ONNX has uint8: a feature's values and its zero point are less by 128, and its
scale stays, as do weights and biases. What int8 operators must look like is in TensorFlow's "LiteRT 8-bit quantization
specification".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thimble.exporting.integer_graph import Array, Feature, IntegerGraph, Layer, Window

from .flatbuffer import Number, Table
from .schema import Network, Operator, Type, quantization, scales_along

_OFFSET = 128
"""The difference between a uint8 value and its int8 value."""
_LARGEST_WEIGHT = 127
_SAME, _VALID = 0, 1


@dataclass(frozen=True)
class Range:
    """How int8 stands for the logits: real = scale * (int8 - zero_point)."""

    scale: float
    zero_point: int

    @classmethod
    def of(cls, logits: Array) -> Range:
        """The range from the smallest to the largest of some logits, float (N, classes), and 0."""
        least, most = min(float(logits.min()), 0.0), max(float(logits.max()), 0.0)
        scale = float(np.float32(max(most - least, 1e-6) / 255))
        return cls(scale, round(-_OFFSET - least / scale))


def build(graph: IntegerGraph, scales: Array, offsets: Array, logits: Range, *, pixels: str) -> Network:
    """Build the network of a file.

    Args:
        graph: the integer network.
        scales, offsets: float64 (channels,); normalisation is ``pixel * scale + offset`` for pixels in 0..255.
        logits: how the file stands for logits.
        pixels: "uint8": the input is uint8, 0..255, and the output float32. "int8": the input is int8, the pixels less
            128, and the output int8.
    """
    network, tensors = Network(), {}
    image = _pixels(network, graph.image, pixels)
    tensors[graph.image.name] = _normalisation(network, image, graph.image, scales, offsets)
    for layer in graph.layers[:-1]:
        assert layer.output is not None
        tensors[layer.output.name] = _layer(network, layer, [tensors[one.name] for one in layer.inputs])
    last = graph.layers[-1]
    network.outputs.append(_logits(network, last, tensors[last.inputs[0].name], logits, pixels))
    return network


def _pixels(network: Network, image: Feature, pixels: str) -> int:
    shape, quantised = (1, image.height, image.width, image.channels), quantization([1.0], [-_OFFSET])
    if pixels == "int8":
        network.inputs.append(network.tensor("images", Type.INT8, shape, quantised))
        return network.inputs[0]
    network.inputs.append(network.tensor("images", Type.UINT8, shape, quantization([1.0], [0])))
    shifted = network.tensor("images_int8", Type.INT8, shape, quantised)
    return network.operator(Operator.QUANTIZE, network.inputs[:1], shifted)


def _normalisation(network: Network, image: int, feature: Feature, scales: Array, offsets: Array) -> int:
    """A depthwise convolution of one pixel: each channel times its scale, plus its offset."""
    units = scales / _LARGEST_WEIGHT
    weights = np.full((1, 1, 1, feature.channels), _LARGEST_WEIGHT)
    inputs = [
        image,
        network.constant("normalisation", Type.INT8, weights, scales_along(units, 3)),
        network.constant("normalisation_bias", Type.INT32, np.rint(offsets / units), scales_along(units, 0)),
    ]
    options = _depthwise_options(_VALID, Window(), multiplier=1, relu=False)
    return network.operator(Operator.DEPTHWISE_CONV_2D, inputs, _feature(network, feature), options)


def _layer(network: Network, layer: Layer, inputs: list[int]) -> int:
    """Add a layer's operators; return the number of its output."""
    assert layer.output is not None
    relu = Number("Int8", int(layer.relu))
    if layer.kind == "sum":
        output = _feature(network, layer.output)
        return network.operator(Operator.ADD, inputs, output, Table({0: relu}))
    if layer.kind == "average":
        axes = network.constant(f"{layer.name}_axes", Type.INT32, np.array([1, 2]))
        output = _feature(network, layer.output)
        return network.operator(Operator.MEAN, [*inputs, axes], output, Table({0: Number("Bool", 1)}))
    padding, source = _padded(network, layer, inputs[0])
    if layer.kind == "maximum":
        options = Table(
            {
                0: Number("Int8", padding),
                1: Number("Int32", layer.window.stride[1]),
                2: Number("Int32", layer.window.stride[0]),
                3: Number("Int32", layer.window.kernel[1]),
                4: Number("Int32", layer.window.kernel[0]),
                5: relu,
            }
        )
        return network.operator(Operator.MAX_POOL_2D, [source], _feature(network, layer.output), options)
    return _convolution(network, layer, source, padding, _feature(network, layer.output))


def _convolution(network: Network, layer: Layer, source: int, padding: int, output: int) -> int:
    assert layer.weights is not None
    assert layer.weight_scales is not None
    assert layer.bias is not None
    feature, scales = layer.inputs[0], np.asarray(layer.weight_scales)
    depthwise = layer.groups > 1 and layer.groups == feature.channels
    weights = layer.weights.transpose(3, 1, 2, 0) if depthwise else layer.weights
    name = layer.name or "convolution"
    inputs = [
        source,
        network.constant(f"{name}_weights", Type.INT8, weights, scales_along(scales, 3 if depthwise else 0)),
        network.constant(f"{name}_bias", Type.INT32, layer.bias, scales_along(scales * feature.scale, 0)),
    ]
    if depthwise:
        multiplier = len(layer.weights) // layer.groups
        options = _depthwise_options(padding, layer.window, multiplier=multiplier, relu=layer.relu)
        return network.operator(Operator.DEPTHWISE_CONV_2D, inputs, output, options)
    options = Table(
        {
            0: Number("Int8", padding),
            1: Number("Int32", layer.window.stride[1]),
            2: Number("Int32", layer.window.stride[0]),
            3: Number("Int8", int(layer.relu)),
            4: Number("Int32", layer.window.dilation[1], 1),
            5: Number("Int32", layer.window.dilation[0], 1),
        }
    )
    return network.operator(Operator.CONV_2D, inputs, output, options, grouped=layer.groups > 1)


def _depthwise_options(padding: int, window: Window, *, multiplier: int, relu: bool) -> Table:
    return Table(
        {
            0: Number("Int8", padding),
            1: Number("Int32", window.stride[1]),
            2: Number("Int32", window.stride[0]),
            3: Number("Int32", multiplier),
            4: Number("Int8", int(relu)),
            5: Number("Int32", window.dilation[1], 1),
            6: Number("Int32", window.dilation[0], 1),
        }
    )


def _logits(network: Network, layer: Layer, source: int, logits: Range, pixels: str) -> int:
    """The last layer, as a convolution of one pixel; then one row of logits."""
    assert layer.weights is not None
    quantised, classes = quantization([logits.scale], [logits.zero_point]), len(layer.weights)
    pixel = network.tensor("logits_pixel", Type.INT8, (1, 1, 1, classes), quantised)
    _convolution(network, layer, source, _VALID, pixel)
    shape = np.array([-1, classes], dtype=np.int32)
    last = "logits" if pixels == "int8" else "logits_int8"
    row = network.tensor(last, Type.INT8, (1, classes), quantised)
    sizes = network.constant("logits_shape", Type.INT32, shape)
    network.operator(Operator.RESHAPE, [pixel, sizes], row, Table({0: shape}))
    if pixels == "int8":
        return row
    return network.operator(Operator.DEQUANTIZE, [row], network.tensor("logits", Type.FLOAT32, (1, classes)))


def _padded(network: Network, layer: Layer, source: int) -> tuple[int, int]:
    """The padding of a layer's window, and the tensor it reads: the input, or, if need be, a padded copy.

    TensorFlow Lite pads as much as the output's size asks for, the smaller half at the top and left, or not at all.
    """
    assert layer.output is not None
    window, feature, output = layer.window, layer.inputs[0], layer.output
    sizes = ((feature.height, output.height), (feature.width, output.width))
    totals, kinds = [], []
    for axis, (size, found) in enumerate(sizes):
        reach, stride = window.dilation[axis] * (window.kernel[axis] - 1) + 1, window.stride[axis]
        total = max(0, (found - 1) * stride + reach - size)
        totals.append(max(total, window.padding[axis]))
        same = found == -(-size // stride) and window.padding[axis] == total // 2
        valid = window.padding[axis] == 0 and found == (size - reach) // stride + 1
        kinds.append((same, valid))
    for kind, at in ((_VALID, 1), (_SAME, 0)):
        if all(one[at] for one in kinds):
            return kind, source
    pads = [(0, 0), *((before, total - before) for before, total in zip(window.padding, totals, strict=True)), (0, 0)]
    height, width = feature.height + totals[0], feature.width + totals[1]
    quantised = quantization([feature.scale], [feature.zero_point - _OFFSET])
    shape = (1, height, width, feature.channels)
    padded = network.tensor(f"{layer.name}_padded", Type.INT8, shape, quantised)
    inputs = [source, network.constant(f"{layer.name}_pads", Type.INT32, np.array(pads))]
    if layer.kind != "maximum":
        return _VALID, network.operator(Operator.PAD, inputs, padded)
    least = network.constant(f"{layer.name}_least", Type.INT8, np.array([-_OFFSET]), quantised)
    return _VALID, network.operator(Operator.PADV2, [*inputs, least], padded)


def _feature(network: Network, feature: Feature) -> int:
    shape = (1, feature.height, feature.width, feature.channels)
    return network.tensor(feature.name, Type.INT8, shape, quantization([feature.scale], [feature.zero_point - _OFFSET]))
