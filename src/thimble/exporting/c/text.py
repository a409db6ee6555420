"""Help ``tables``: convert factors to fixed point, and describe layers and numbers as text for C."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from thimble.exporting.integer_graph import Array, Layer

from .memory_plan import Pass

_WIDTH = 116


def lines_of(values: Iterable[str], indent: str = "    ") -> str:
    """Join values with commas and break them into lines."""
    lines, line = [], indent
    for value in values:
        if len(line) + len(value) > _WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += value + ", "
    return "\n".join([*lines, line.rstrip()])


def fixed_point(factors: Array) -> tuple[Array, Array]:
    """Write positive factors as ``multiplier / 2**shift``, with 31-bit multipliers.

    Args:
        factors: float64 (channels,), below 2**30.

    Returns:
        Multipliers, int32 (channels,), and shifts, uint8 (channels,), in 1..62.
    """
    mantissas, exponents = np.frexp(factors)
    multipliers = np.rint(mantissas * 2.0**31).astype(np.int64)
    exponents = exponents + (multipliers == 2**31)
    multipliers[multipliers == 2**31] = 2**30
    shifts = 31 - exponents.astype(np.int64)
    multipliers >>= np.clip(shifts - 62, 0, 62)  # such a small factor gives 0 anyway
    return multipliers.astype(np.int32), np.clip(shifts, 1, 62).astype(np.uint8)


def least(layer: Layer) -> int:
    """The smallest output value: the zero point if there is a ReLU, else 0."""
    return layer.output.zero_point if layer.relu and layer.output else 0


def is_depthwise(layer: Layer) -> bool:
    """Whether the layer is a depthwise convolution."""
    return (
        layer.kind == "convolution" and layer.groups > 1 and layer.groups == layer.inputs[0].channels == width_of(layer)
    )


def width_of(layer: Layer) -> int:
    """The number of output channels of a convolution."""
    return 0 if layer.weights is None else len(layer.weights)


def taps_of(layer: Layer) -> int:
    """The number of pixels in a layer's window."""
    return layer.window.kernel[0] * layer.window.kernel[1]


def shape_of(layer: Layer) -> str:
    """The shape of a convolution's weights, for a comment."""
    height, width = layer.window.kernel
    if is_depthwise(layer):
        return f"{height} x {width} taps of {width_of(layer)} channels"
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    return f"{width_of(layer)} channels{groups} of {height} x {width} x {layer.inputs[0].channels // layer.groups}"


def describe(step: Pass) -> str:
    """Describe a pass, for a comment."""
    sizes = [f"{one.height} x {one.width} x {one.channels}" if one else "logits" for one in (step.input, step.output)]
    kinds = ["depthwise" if is_depthwise(layer) else layer.kind for layer in step.layers]
    return f"{sizes[0]} to {sizes[1]}: {', '.join(kinds)}"


def number_in_c(value: Any) -> str:
    """Write a number in C: an integer, or a float with all its digits."""
    if isinstance(value, np.floating):
        digits = f"{float(value):.9g}"
        return (digits if set(digits) & set(".e") else digits + ".0") + "f"
    return str(int(value))
