"""The int8 network as integers alone, read from the QDQ graph that ``onnx_file`` makes.

A QDQ graph says in floating point what integers will compute: ``QuantizeLinear(Conv(DequantizeLinear(x), ...))``. Here
each such group becomes one layer, from uint8 to uint8. A real number r is kept as a whole number q, r = scale * (q -
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
        height, width, channels: its shape, one image.
        scale: of one step, in real numbers.
        zero_point: which number stands for 0.
    """

    name: str
    height: int
    width: int
    channels: int
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Window:
    """Which pixels of its input an output pixel sees: (vertical, horizontal) each.

    Attributes:
        kernel, stride, dilation: as in ``nn.Conv2d``.
        padding: at the top and at the left; what is at the bottom and right shows in the output's size.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    @property
    def is_pixel(self) -> bool:
        """Whether output and input pixels are the same."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0)


@dataclass(frozen=True, eq=False)
class Layer:
    """What makes one feature of others.

    Attributes:
        kind: "convolution", "sum", "maximum" or "average" (over all pixels).
        name: of its node, for people.
        inputs: one feature, or the two of a sum.
        output: None where the sums are the logits.
        relu: whether real numbers below 0 become 0. (As a rule the output's range has seen to that.)
        window: of its first input.
        groups: of a convolution.
        weights: of a convolution, int8 (channels, height, width, channels of a group of the input).
        weight_scales: float64 (channels,).
        bias: int32 (channels,), in steps of the input's scale times the weight's.
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
    """A classifier.

    Attributes:
        image: what the first layer takes.
        table: uint8 (3, 256), what each value of each colour is in ``image``.
        layers: in the order of computation; the last gives the logits.
    """

    image: Feature
    table: Array
    layers: tuple[Layer, ...]


def read(onnx_file: bytes) -> IntegerGraph:
    """Read the graph of ``onnx_file.build_int8``.

    Raises:
        UserError: it has something that no layer here can do.
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
            raise UserError("the network has nothing quantised: expected convolutions; export it as onnx instead")
        self.layers.append(self._logits())
        return IntegerGraph(image, table, tuple(self.layers))

    def _image(self, quantize: Any) -> tuple[Feature, Array]:
        """The normalisation and the quantisation behind it, each of 256 values, in the same float32 steps as there."""
        numbers = np.arange(256, dtype=np.float32)[:, None]
        node, steps = self.producers.get(quantize.input[0]), []
        while node is not None:
            steps.append(node)
            node = self.producers.get(node.input[0])
        if [step.op_type for step in steps] != ["Transpose", "Add", "Mul", "Cast"]:
            raise UserError(
                "the network does not begin with the normalisation of uint8 pixels: expected preprocess=True"
            )
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
            raise UserError(f"the max-pooling {node.name} has another scale than its input: expected the same")
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
            raise UserError(f"the sum {node.name} is of {_shape(one)} and {_shape(other)}: expected equal shapes")
        return {"kind": "sum", "inputs": (one, other)}, _shape(one)

    def _maximum(self, node: Any) -> tuple[dict[str, Any], tuple[int, int, int]]:
        feature = self._feature(node.input[0])
        window, size = _window(node, feature, _attributes(node)["kernel_shape"])
        return {"kind": "maximum", "inputs": (feature,), "window": window}, (*size, feature.channels)

    def _average(self, node: Any) -> tuple[dict[str, Any], tuple[int, int, int]]:
        feature = self._feature(node.input[0])
        axes = _attributes(node).get("axes")
        if axes is None or {int(axis) % 4 for axis in axes} != {2, 3}:
            raise UserError(f"{node.name} takes a mean over {axes}: expected one over height and width")
        window = Window(kernel=(feature.height, feature.width))
        return {"kind": "average", "inputs": (feature,), "window": window}, (1, 1, feature.channels)

    def _logits(self) -> Layer:
        """The linear layer, as a convolution of one pixel that is not quantised again."""
        node = self.producers[self.graph.output[0].name]
        if node.op_type != "Gemm":
            raise _unknown(node)
        feature = self._feature(node.input[0])
        weights, scales = self._dequantized(node, node.input[1])
        weights = weights if _attributes(node).get("transB", 0) else weights.T
        if weights.shape[1] != feature.channels or _shape(feature)[:2] != (1, 1):
            raise UserError(f"the linear layer sees {_shape(feature)}: expected one pixel, behind an average")
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
        """The quantised tensor behind an input of a node."""
        node = self.producers[name]
        if node.op_type != "DequantizeLinear" or node.input[0] not in self.features:
            raise _unknown(node)
        return self.features[node.input[0]]

    def _dequantized(self, node: Any, name: str) -> tuple[Array, Array]:
        """Constant whole numbers and the scales that they have."""
        dequantize = self.producers.get(name)
        if dequantize is None or dequantize.input[0] not in self.constants:
            raise UserError(f"the weights of {node.name} are not quantised: expected constants of int8")
        if np.any(self.constants[dequantize.input[2]]):
            raise UserError(f"the weights of {node.name} have a zero point: expected symmetric ones")
        return self.constants[dequantize.input[0]], self.constants[dequantize.input[1]].astype(np.float64)

    def _bias(self, node: Any, channels: int) -> Array:
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(channels, dtype=np.int32)
        return self._dequantized(node, node.input[2])[0]


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def _window(node: Any, feature: Feature, kernel: Any) -> tuple[Window, tuple[int, int]]:
    """The window of a node, and the (height, width) of what it gives."""
    found = _attributes(node)
    if found.get("auto_pad", b"NOTSET") != b"NOTSET" or found.get("ceil_mode", 0):
        raise UserError(f"{node.name} pads by a rule: expected numbers")
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
        f"the network has {node.op_type} ({node.name}), which the C file cannot do: expected {_KNOWN}; "
        "export it as onnx instead"
    )
