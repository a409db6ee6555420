"""What ``c_tables`` asks of layers and numbers: factors in fixed point, facts of a layer, and both as text for C."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .integer_graph import Array, Layer
from .memory_plan import Pass

_WIDTH = 116


def lines_of(values: Iterable[str], indent: str = "    ") -> str:
    """Numbers, separated by commas, in lines."""
    lines, line = [], indent
    for value in values:
        if len(line) + len(value) > _WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += value + ", "
    return "\n".join([*lines, line.rstrip()])


def fixed_point(factors: Array) -> tuple[Array, Array]:
    """Positive factors as ``multiplier / 2**shift``, with multipliers of 31 bits.

    Args:
        factors: float64 (channels,), below 2**30.

    Returns:
        int32 and uint8 (channels,); shifts are in 1..62.
    """
    mantissas, exponents = np.frexp(factors)
    multipliers = np.rint(mantissas * 2.0**31).astype(np.int64)
    exponents = exponents + (multipliers == 2**31)
    multipliers[multipliers == 2**31] = 2**30
    shifts = 31 - exponents.astype(np.int64)
    multipliers >>= np.clip(shifts - 62, 0, 62)  # so small a factor gives 0 in any case
    return multipliers.astype(np.int32), np.clip(shifts, 1, 62).astype(np.uint8)


def least(layer: Layer) -> int:
    """The least value of the output: where a ReLU cuts."""
    return layer.output.zero_point if layer.relu and layer.output else 0


def is_depthwise(layer: Layer) -> bool:
    """Whether every channel is convolved by itself."""
    return (
        layer.kind == "convolution" and layer.groups > 1 and layer.groups == layer.inputs[0].channels == width_of(layer)
    )


def width_of(layer: Layer) -> int:
    """The channels that a convolution gives."""
    return 0 if layer.weights is None else len(layer.weights)


def taps_of(layer: Layer) -> int:
    """The pixels of a window."""
    return layer.window.kernel[0] * layer.window.kernel[1]


def shape_of(layer: Layer) -> str:
    """The shape of a convolution's weights, for a comment."""
    height, width = layer.window.kernel
    if is_depthwise(layer):
        return f"{height} x {width} taps of {width_of(layer)} channels"
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    return f"{width_of(layer)} channels{groups} of {height} x {width} x {layer.inputs[0].channels // layer.groups}"


def describe(step: Pass) -> str:
    """A pass, for a comment."""
    sizes = [f"{one.height} x {one.width} x {one.channels}" if one else "logits" for one in (step.input, step.output)]
    kinds = ["depthwise" if is_depthwise(layer) else layer.kind for layer in step.layers]
    return f"{sizes[0]} to {sizes[1]}: {', '.join(kinds)}"


def number_in_c(value: Any) -> str:
    """A number as C takes it: whole, or float with all its digits."""
    if isinstance(value, np.floating):
        digits = f"{float(value):.9g}"
        return (digits if set(digits) & set(".e") else digits + ".0") + "f"
    return str(int(value))
