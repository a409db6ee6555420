"""Read the int8 network as integer-only layers from the QDQ graph that ``onnx_file`` builds.

A QDQ graph expresses integer arithmetic in floating point: ``QuantizeLinear(Conv(DequantizeLinear(x), ...))``. Here,
each such group becomes one layer from uint8 to uint8. An integer q stands for the real number r = scale * (q -
zero_point); see B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (2018, arXiv:1712.05877), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from thimble.errors import UserError

Array: TypeAlias = NDArray[Any]

_KNOWN = "convolutions, ReLU, sums, max-pooling, one global average pooling and one linear layer"


@dataclass(frozen=True)
class Feature:
    """A uint8 tensor between two layers.

    Attributes:
        name: unique in the graph.
        height, width, channels: its shape for one image.
        scale: the real difference between two successive integers.
        zero_point: the integer that stands for 0.
    """

    name: str
    height: int
    width: int
    channels: int
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Window:
    """The input pixels that an output pixel depends on; each attribute is (vertical, horizontal).

    Attributes:
        kernel, stride, dilation: as in ``nn.Conv2d``.
        padding: at the top and at the left; the output's size implies the padding at the bottom and at the right.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    @property
    def is_pixel(self) -> bool:
        """Whether each output pixel depends only on the input pixel at the same place."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0)


@dataclass(frozen=True, eq=False)
class Layer:
    """An operation that computes one feature from one or two others.

    Attributes:
        kind: "convolution", "sum", "maximum" or "average" (over all pixels).
        name: the ONNX node's name, for messages and comments.
        inputs: one feature, or two for a sum.
        output: the feature; None if the layer computes the logits.
        relu: whether negative real numbers become 0 (usually the output's range already ensures it).
        window: the window over the first input.
        groups: a convolution's groups.
        weights: a convolution's weights, int8 (channels, height, width, input channels per group).
        weight_scales: float64 (channels,).
        bias: int32 (channels,), in units of the input's scale times the weights' scale.
    """

    kind: str
    name: str
    inputs: tuple[Feature, ...]
    output: Feature | None
    relu: bool = False
    window: Window = Window()
    groups: int = 1
    weights: Array | None = None
    weight_scales: Array | None = None
    bias: Array | None = None


@dataclass(frozen=True, eq=False)
class IntegerGraph:
    """A classifier in integers.

    Attributes:
        image: the first layer's input.
        table: uint8 (channels, 256), which maps each channel's pixel values to the values in ``image``.
        layers: in the order of computation; the last computes the logits.
    """

    image: Feature
    table: Array
    layers: tuple[Layer, ...]


def read(onnx_file: bytes) -> IntegerGraph:
    """Read an ONNX file that ``onnx_file.build_int8`` built.

    Raises:
        UserError: it has an operation that the C file does not support.
    """
    import onnx

    return _Reader(onnx.load_from_string(onnx_file).graph).read()


class _Reader:
    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.graph = graph
        self.constants: dict[str, Array] = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.features: dict[str, Feature] = {}  # by the name of the quantised tensor
        self.layers: list[Layer] = []

    def read(self) -> IntegerGraph:
        image, table = None, None
        for node in self.graph.node:
            if node.op_type != "QuantizeLinear":
                continue
            if image is None:
                image, table = self._image(node)
                self.features[node.output[0]] = image
            else:
                self.layers.append(self._layer(node))
        if image is None or table is None:
            raise UserError("the network has no quantised layers: expected convolutions; use --format onnx")
        self.layers.append(self._logits())
        return IntegerGraph(image, table, tuple(self.layers))

    def _image(self, quantize: Any) -> tuple[Feature, Array]:
        """Turn normalisation and first quantisation into a table of 256 values, with the graph's float32 arithmetic."""
        numbers = np.arange(256, dtype=np.float32)[:, None]
        node, steps = self.producers.get(quantize.input[0]), []
        while node is not None:
            steps.append(node)
            node = self.producers.get(node.input[0])
        if [step.op_type for step in steps] != ["Transpose", "Add", "Mul", "Cast"]:
            raise UserError("the network does not start with the normalisation of uint8 pixels: use preprocess=True")
        _, shift, scale, _ = steps
        numbers = numbers * self.constants[scale.input[1]] + self.constants[shift.input[1]]
        step, zero_point = self._quantization(quantize)
        table = np.clip(np.rint(numbers / np.float32(step)) + zero_point, 0, 255).astype(np.uint8).T
        _, height, width, channels = [item.dim_value for item in self.graph.input[0].type.tensor_type.shape.dim]
        return Feature(quantize.output[0], height, width, channels, step, zero_point), table

    def _layer(self, quantize: Any) -> Layer:
        node = self.producers[quantize.input[0]]
        relu = node.op_type == "Relu"
        if relu:
            node = self.producers[node.input[0]]
        makers = {"Conv": self._convolution, "Add": self._sum, "MaxPool": self._maximum, "ReduceMean": self._average}
        if node.op_type not in makers:
            raise _unknown(node)
        layer, shape = makers[node.op_type](node)
        output = Feature(quantize.output[0], *shape, *self._quantization(quantize))
        self.features[output.name] = output
        if layer["kind"] == "maximum" and _steps(output) != _steps(layer["inputs"][0]):
            raise UserError(
                f"the scale of max-pooling {node.name} differs from its input's: expected the same; use --format onnx"
            )
        return Layer(name=node.name, output=output, relu=relu, **layer)

    def _convolution(self, node: Any) -> tuple[dict[str, Any], tuple[int, int, int]]:
        feature = self._feature(node.input[0])
        weights, scales = self._dequantized(node, node.input[1])
        groups = _attributes(node).get("group", 1)
        window, size = _window(node, feature, weights.shape[2:])
        layer = {
            "kind": "convolution",
            "inputs": (feature,),
            "window": window,
            "groups": groups,
            "weights": np.ascontiguousarray(weights.transpose(0, 2, 3, 1)),
            "weight_scales": np.broadcast_to(scales, (len(weights),)),
            "bias": self._bias(node, len(weights)),
        }
        return layer, (*size, len(weights))

    def _sum(self, node: Any) -> tuple[dict[str, Any], tuple[int, int, int]]:
        one, other = self._feature(node.input[0]), self._feature(node.input[1])
        if _shape(one) != _shape(other):
            raise UserError(f"the sum {node.name} has inputs {_shape(one)} and {_shape(other)}: expected equal shapes")
        return {"kind": "sum", "inputs": (one, other)}, _shape(one)

    def _maximum(self, node: Any) -> tuple[dict[str, Any], tuple[int, int, int]]:
        feature = self._feature(node.input[0])
        window, size = _window(node, feature, _attributes(node)["kernel_shape"])
        return {"kind": "maximum", "inputs": (feature,), "window": window}, (*size, feature.channels)

    def _average(self, node: Any) -> tuple[dict[str, Any], tuple[int, int, int]]:
        feature = self._feature(node.input[0])
        axes = _attributes(node).get("axes")
        if axes is None or {int(axis) % 4 for axis in axes} != {2, 3}:
            raise UserError(f"{node.name} is a mean over axes {axes}: expected height and width; use --format onnx")
        window = Window(kernel=(feature.height, feature.width))
        return {"kind": "average", "inputs": (feature,), "window": window}, (1, 1, feature.channels)

    def _logits(self) -> Layer:
        """The linear layer, as a 1x1 convolution whose sums are not requantised."""
        node = self.producers[self.graph.output[0].name]
        if node.op_type != "Gemm":
            raise _unknown(node)
        feature = self._feature(node.input[0])
        weights, scales = self._dequantized(node, node.input[1])
        weights = weights if _attributes(node).get("transB", 0) else weights.T
        if weights.shape[1] != feature.channels or _shape(feature)[:2] != (1, 1):
            raise UserError(f"the linear layer's input is {_shape(feature)}: expected one pixel; use --format onnx")
        return Layer(
            kind="convolution",
            name=node.name,
            inputs=(feature,),
            output=None,
            weights=np.ascontiguousarray(weights[:, None, None, :]),
            weight_scales=np.broadcast_to(scales, (len(weights),)),
            bias=self._bias(node, len(weights)),
        )

    def _quantization(self, node: Any) -> tuple[float, int]:
        return float(self.constants[node.input[1]]), int(self.constants[node.input[2]])

    def _feature(self, name: str) -> Feature:
        """The quantised tensor from which a node's input comes."""
        node = self.producers[name]
        if node.op_type != "DequantizeLinear" or node.input[0] not in self.features:
            raise _unknown(node)
        return self.features[node.input[0]]

    def _dequantized(self, node: Any, name: str) -> tuple[Array, Array]:
        """The constant integers of a node's weights or bias, and their scales."""
        dequantize = self.producers.get(name)
        if dequantize is None or dequantize.input[0] not in self.constants:
            raise UserError(f"the weights of {node.name} are not quantised: expected int8 constants; use --format onnx")
        if np.any(self.constants[dequantize.input[2]]):
            raise UserError(f"the weights of {node.name} have a zero point: expected none; use --format onnx")
        return self.constants[dequantize.input[0]], self.constants[dequantize.input[1]].astype(np.float64)

    def _bias(self, node: Any, channels: int) -> Array:
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(channels, dtype=np.int32)
        return self._dequantized(node, node.input[2])[0]


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def _window(node: Any, feature: Feature, kernel: Any) -> tuple[Window, tuple[int, int]]:
    """A node's window, and its output's (height, width)."""
    found = _attributes(node)
    if found.get("auto_pad", b"NOTSET") != b"NOTSET" or found.get("ceil_mode", 0):
        raise UserError(f"{node.name} has automatic padding: expected numbers of pixels; use --format onnx")
    stride, dilation = found.get("strides", [1, 1]), found.get("dilations", [1, 1])
    pads = found.get("pads", [0, 0, 0, 0])
    height, width = (
        (size + pads[axis] + pads[axis + 2] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis, size in enumerate((feature.height, feature.width))
    )
    window = Window(
        kernel=(int(kernel[0]), int(kernel[1])),
        stride=(stride[0], stride[1]),
        dilation=(dilation[0], dilation[1]),
        padding=(pads[0], pads[1]),
    )
    return window, (height, width)


def _shape(feature: Feature) -> tuple[int, int, int]:
    return feature.height, feature.width, feature.channels


def _steps(feature: Feature) -> tuple[float, int]:
    return feature.scale, feature.zero_point


def _unknown(node: Any) -> UserError:
    return UserError(
        f"the network has {node.op_type} ({node.name}), which the C file does not support: expected {_KNOWN}; "
        "use --format onnx"
    )
