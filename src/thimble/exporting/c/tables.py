"""Turn the integer network into the tables that ``network.c.j2`` prints.

Everything possible is computed in advance: factors as fixed-point numbers, and the zero points' contribution to sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thimble.errors import RunError
from thimble.exporting.integer_graph import Array, Feature, IntegerGraph, Layer

from .memory_plan import Pass, Plan, passes_of, plan
from .text import describe, fixed_point, is_depthwise, least, lines_of, number_in_c, shape_of, taps_of

TILE = (4, 16)
"""Output channels and inputs that the C code processes together."""
_PASS_BYTES, _LAYER_BYTES = 4 * 22, 4 * 16
"""Sizes of the template's structs on a machine with 4-byte pointers."""


@dataclass(frozen=True)
class Table:
    """A constant array.

    Attributes:
        name, type: in C.
        length: the number of values.
        text: the values, in lines.
        comment: what they are; may be empty.
    """

    name: str
    type: str
    length: int
    text: str
    comment: str = ""

    @property
    def num_bytes(self) -> int:
        return self.length * {"int8_t": 1, "uint8_t": 1, "int32_t": 4, "float": 4}[self.type]


@dataclass
class Tables:
    """Everything that the C template prints about a network.

    Attributes:
        graph: the network.
        arrays: weights and other constants, in the file's order.
        passes: for each pass, a comment, its fields, and its layers' fields, as text by field name in C.
        kinds: the kinds of layers that occur.
        arena, patch, sums, pixel: the number of values in each of the four buffers.
        image_offset: the image's offset in the arena.
    """

    graph: IntegerGraph
    arrays: list[Table] = field(default_factory=list)
    passes: list[dict[str, Any]] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    arena: int = 0
    patch: int = 1
    sums: int = 1
    pixel: int = 1
    image_offset: int = 0

    @property
    def ram_bytes(self) -> int:
        """The size of the four buffers."""
        return self.arena + self.patch + 4 * self.sums + self.pixel

    @property
    def flash_bytes(self) -> int:
        """The size of all tables without the class names, on a machine with 4-byte pointers."""
        structs = _PASS_BYTES * len(self.passes) + _LAYER_BYTES * sum(len(one["layers"]) for one in self.passes)
        return sum(array.num_bytes for array in self.arrays) + self.graph.table.size + structs

    def add(self, name: str, kind: str, values: Array, comment: str = "") -> str:
        """Add an array; return its name."""
        text = lines_of(number_in_c(value) for value in values.ravel())
        self.arrays.append(Table(name, kind, values.size, text, comment))
        return name

    def number(self, layer: Layer) -> int:
        """A layer's number, from 1; the names of its arrays end with it."""
        return self.graph.layers.index(layer) + 1


def tabulate(graph: IntegerGraph) -> Tables:
    """Plan the memory and compute every table.

    Raises:
        RunError: a sum could overflow 32 bits.
    """
    passes = passes_of(graph)
    placed = plan(graph, passes)
    tables = Tables(graph, arena=placed.num_bytes + TILE[1] - 1, image_offset=placed.offsets[graph.image.name])
    for step, backwards in zip(passes, placed.backwards, strict=True):
        _add_pass(tables, step, placed, backwards)
    logits = graph.layers[-1]
    scales = np.float32(logits.inputs[0].scale) * np.asarray(logits.weight_scales, dtype=np.float32)
    tables.add("logit_scales", "float", scales, "For each class, the factor from its sum to its logit.")
    return tables


def _add_pass(tables: Tables, step: Pass, placed: Plan, backwards: bool) -> None:
    feature, output = step.input, step.output
    layers, pixel = [], feature
    if step.layers[0].kind == "sum":  # a maximum over one pixel fetches the pixel that the sum needs
        layers.append(_maximum(tables, feature, taps=1))
    for layer in step.layers:
        layers.append(_layer(tables, layer, pixel, placed))
        pixel = layer.output or pixel
        tables.pixel = max(tables.pixel, pixel.channels + TILE[1] - 1)
    fields = {
        "num_layers": len(layers),
        "backwards": int(backwards),
        "input": placed.offsets[feature.name],
        "output": placed.offsets[output.name] if output else 0,
        "channels": feature.channels,
        "output_height": output.height if output else 1,
        "output_width": output.width if output else 1,
        "output_channels": output.channels if output else 0,
    }
    first = step.layers[0]
    if first.kind != "average" and not first.window.is_pixel:
        fields |= _neighbourhood(first)
        tables.patch = max(tables.patch, taps_of(first) * feature.channels + TILE[1] - 1)
    tables.passes.append({"comment": describe(step), "fields": fields, "layers": layers})


def _neighbourhood(layer: Layer) -> dict[str, int]:
    """The fields of a pass that gathers a window."""
    feature, window = layer.inputs[0], layer.window
    return {
        "gathers": 1,
        "height": feature.height,
        "width": feature.width,
        "kernel_height": window.kernel[0],
        "kernel_width": window.kernel[1],
        "stride_y": window.stride[0],
        "stride_x": window.stride[1],
        "dilation_y": window.dilation[0],
        "dilation_x": window.dilation[1],
        "pad_top": window.padding[0],
        "pad_left": window.padding[1],
        "padding": 0 if layer.kind == "maximum" else feature.zero_point,  # 0 never exceeds another value
        "groups": 1 if is_depthwise(layer) else layer.groups,
    }


def _layer(tables: Tables, layer: Layer, pixel: Feature, placed: Plan) -> dict[str, Any]:
    """A layer's fields in C.

    Args:
        pixel: its input: a feature in the arena, or the previous layer's output.
    """
    if layer.kind == "maximum":
        return _maximum(tables, pixel, taps_of(layer))
    if layer.kind == "sum":
        tables.kinds.add("sum")
        other = layer.inputs[1] if layer.inputs[0] is pixel else layer.inputs[0]
        return {
            "kind": "SUM",
            "channels": pixel.channels,
            "other": placed.offsets[other.name],
            **_sum(layer, pixel, other),
        }
    if layer.kind == "average":
        tables.kinds.add("average")
        fields = {"kind": "AVERAGE", "taps": taps_of(layer), "channels": pixel.channels}
        ones = np.ones((pixel.channels, taps_of(layer)), dtype=np.int8)
        return fields | _requantisation(tables, layer, ones, np.full(pixel.channels, 1.0 / taps_of(layer)))
    return _convolution(tables, layer)


def _maximum(tables: Tables, feature: Feature, taps: int) -> dict[str, Any]:
    tables.kinds.add("maximum")
    return {"kind": "MAXIMUM", "taps": taps, "channels": feature.channels}


def _convolution(tables: Tables, layer: Layer) -> dict[str, Any]:
    assert layer.weights is not None
    assert layer.weight_scales is not None
    kind = "depthwise" if is_depthwise(layer) else "convolution"
    tables.kinds.add(kind)
    weights = layer.weights.reshape(len(layer.weights), -1)
    fields = {"kind": kind.upper(), "channels": len(weights)}
    if kind == "depthwise":
        fields |= {"taps": taps_of(layer)}
    else:
        fields |= {"groups": layer.groups, "inputs": weights.shape[1]}
    stored = weights.T if kind == "depthwise" else _filled(weights, layer.groups)
    name = f"weights_{tables.number(layer)}"
    fields["weights"] = tables.add(name, "int8_t", stored, f"{layer.name or kind}: {shape_of(layer)}")
    return fields | _requantisation(tables, layer, weights, layer.weight_scales)


def _filled(weights: Array, groups: int) -> Array:
    """Pad weights, int8 (channels, inputs), with zeros, so that every group consists of whole tiles.

    Returns:
        int8 (groups, channels per group, inputs), the last two rounded up to ``TILE``.
    """
    of_group = weights.reshape(groups, -1, weights.shape[1])
    return np.pad(of_group, ((0, 0), (0, -of_group.shape[1] % TILE[0]), (0, -of_group.shape[2] % TILE[1])))


def _requantisation(tables: Tables, layer: Layer, weights: Array, scales: Array) -> dict[str, Any]:
    """The fields that convert a layer's sums to its output's scale.

    Args:
        weights: int8 (channels, inputs), by which the inputs are multiplied.
        scales: the weights' scales, float64 (channels,).
    """
    (feature,), output, number = layer.inputs, layer.output, tables.number(layer)
    bias = np.zeros(len(weights), dtype=np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    # The C code sums w * q; subtracting zero_point * sum(w) makes it the sum of w * (q - zero_point).
    bias = bias - feature.zero_point * weights.sum(1, dtype=np.int64)
    tables.sums = max(tables.sums, len(weights) + TILE[0] - 1)
    spare = -(len(weights) // layer.groups) % TILE[0]
    fields: dict[str, Any] = {"bias": tables.add(f"bias_{number}", "int32_t", np.pad(bias, (0, spare)))}
    bound = np.abs(bias) + 255 * np.abs(weights.astype(np.int64)).sum(1)
    if output is not None:
        # In float32 like onnxruntime, so that both round the same way.
        factors = np.float32(feature.scale) * scales.astype(np.float32) / np.float32(output.scale)
        multipliers, shifts = fixed_point(factors.astype(np.float64))
        fields["multipliers"] = tables.add(f"multipliers_{number}", "int32_t", multipliers)
        fields["shifts"] = tables.add(f"shifts_{number}", "uint8_t", shifts - 1)
        fields |= {"zero_point": output.zero_point, "least": least(layer)}
        bound = np.maximum(bound, bound * factors + 256)
    if bound.max() >= 2**31:
        raise RunError(
            f"a sum in {layer.name} may reach {bound.max():.3g}: expected less than 2**31 for an int32_t; use --format"
            " onnx"
        )
    return fields


def _sum(layer: Layer, pixel: Feature, other: Feature) -> dict[str, int]:
    """Fixed-point factors for both operands of a sum, with the largest common shift that cannot overflow 32 bits.

    The products, the offset and their sum are each at most 255 * (sum of both ratios) + 256 steps of the output.
    """
    assert layer.output is not None
    ratios = [one.scale / layer.output.scale for one in (pixel, other)]
    shift = 31 - math.ceil(math.log2(255 * sum(ratios) + 256))
    if shift < 1:
        raise RunError(
            f"the sum {layer.name} scales its input by {max(ratios):.3g}: expected less than 2**20; use --format onnx"
        )
    factors = [round(ratio * 2.0**shift) for ratio in ratios]
    zeros = sum(factor * one.zero_point for factor, one in zip(factors, (pixel, other), strict=True))
    return {
        "factor": factors[0],
        "other_factor": factors[1],
        "offset": (layer.output.zero_point << shift) - zeros + (1 << (shift - 1)),
        "shift": shift,
        "least": least(layer),
    }
