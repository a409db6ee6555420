"""Plan the memory: place every feature in one small block, and choose the order in which pixels are computed.

Two ideas keep the block small.

*Passes.* A 1x1 convolution or a sum needs only one pixel of its input, the one just computed. It therefore joins the
pass over the image that computes this pixel, and its input is never stored: in a block depthwise -> wide -> narrow ->
sum, the wide feature exists only one pixel at a time (M. Sandler et al., "MobileNetV2", 2018, arXiv:1801.04381, section
5.1).

*Overlap.* A pass overwrites the part of its input that it will not read again: a 3x3 convolution with equally many
input and output channels needs memory for its input and about one more row, not for two features. P. Blacker et al.,
"Diagonal Memory Optimisation for Machine Learning on Micro-controllers" (2020, arXiv:2010.01668).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thimble.exporting.integer_graph import Array, Feature, IntegerGraph, Layer, Window


@dataclass(frozen=True, eq=False)
class Pass:
    """Layers that are computed together, pixel by pixel.

    Attributes:
        layers: the first reads a window of ``input``; each other layer reads the pixel computed by the one before.
        output: the stored feature; None if the pass computes the logits.
    """

    layers: tuple[Layer, ...]

    @property
    def input(self) -> Feature:
        return self.layers[0].inputs[0]

    @property
    def output(self) -> Feature | None:
        return self.layers[-1].output

    def operands(self) -> list[Feature]:
        """The features that the pass's sums add."""
        found, before = [], self.input
        for layer in self.layers:
            if layer.kind == "sum":
                found.append(_other(layer, before))
            before = layer.output or before
        return found

    def reads(self) -> dict[Feature, list[Window]]:
        """The windows in which the pass reads each stored feature."""
        result = {self.input: [self.layers[0].window]}
        for feature in self.operands():
            result.setdefault(feature, []).append(Window())
        return result


@dataclass(frozen=True)
class Plan:
    """The places of the features and the directions of the passes.

    Attributes:
        offsets: each stored feature's offset in the block, in bytes, by name.
        backwards: for each pass, whether it goes from the last pixel to the first.
        num_bytes: the size of the whole block.
    """

    offsets: dict[str, int]
    backwards: tuple[bool, ...]
    num_bytes: int


def passes_of(graph: IntegerGraph) -> list[Pass]:
    """Group the layers into passes: a layer joins the previous pass if it can."""
    uses = Counter(feature.name for layer in graph.layers for feature in layer.inputs)
    stored = {graph.image.name}
    passes: list[list[Layer]] = []
    for layer in graph.layers:
        last = passes[-1][-1].output if passes else None
        if last is not None and uses[last.name] == 1 and _joins(layer, last, stored):
            passes[-1].append(layer)
            continue
        stored |= {last.name} if last is not None else set()
        passes.append([layer])
    return [Pass(tuple(layers)) for layers in passes]


def plan(graph: IntegerGraph, passes: Sequence[Pass]) -> Plan:
    """Place all features: try several placing orders and pass directions, and return the smallest plan."""
    starts = [tuple(index % 2 == odd for index in range(len(passes))) for odd in (0, 1, 2)]
    placings = [_Placing(graph, passes, order) for order in _orders(graph, passes)]
    plans = [_improve(placing, start) for placing in placings for start in starts]
    return min(plans, key=lambda one: (one.num_bytes, sum(one.backwards)))


def _joins(layer: Layer, last: Feature, stored: set[str]) -> bool:
    if last not in layer.inputs:
        return False
    if layer.kind == "sum":
        return _other(layer, last).name in stored
    return layer.kind == "convolution" and layer.window.is_pixel


def _other(layer: Layer, one: Feature) -> Feature:
    return layer.inputs[1] if layer.inputs[0] is one else layer.inputs[0]


def _orders(graph: IntegerGraph, passes: Sequence[Pass]) -> list[list[Feature]]:
    forwards = [graph.image, *(step.output for step in passes if step.output is not None)]
    return [forwards[::-1], forwards, sorted(forwards, key=num_bytes, reverse=True)]


def num_bytes(feature: Feature) -> int:
    """The size of a stored feature: one byte per value."""
    return feature.height * feature.width * feature.channels


def _improve(placing: _Placing, backwards: tuple[bool, ...]) -> Plan:
    """Reverse one pass at a time, as long as the block gets smaller."""
    best = placing.place(backwards)
    while True:
        tried = [
            placing.place(tuple(flag != (at == index) for at, flag in enumerate(best.backwards)))
            for index in range(len(backwards))
        ]
        found = min(tried, key=lambda one: (one.num_bytes, sum(one.backwards)))
        if found.num_bytes >= best.num_bytes:
            return best
        best = found


class _Placing:
    """Places features one after the other, each at the lowest offset that the features placed before allow."""

    def __init__(self, graph: IntegerGraph, passes: Sequence[Pass], order: list[Feature]) -> None:
        self.order = order
        self.birth = {graph.image: -1, **{step.output: at for at, step in enumerate(passes) if step.output}}
        self.death = {feature: at for at, step in enumerate(passes) for feature in step.reads()}
        self.distances = {
            (feature, step.output): _distances(feature, windows, step.output)
            for step in passes
            if step.output is not None
            for feature, windows in step.reads().items()
        }

    def place(self, backwards: tuple[bool, ...]) -> Plan:
        offsets: dict[Feature, int] = {}
        for feature in self.order:
            gaps = [self._forbidden(feature, other, at, backwards) for other, at in offsets.items()]
            candidates = sorted({0, *(high for _, high in gaps if high > 0)})
            offsets[feature] = next(at for at in candidates if not any(low < at < high for low, high in gaps))
        total = max(at + num_bytes(feature) for feature, at in offsets.items())
        return Plan({feature.name: at for feature, at in offsets.items()}, backwards, total)

    def _forbidden(self, one: Feature, other: Feature, at: int, backwards: tuple[bool, ...]) -> tuple[int, int]:
        """The open interval of offsets at which ``one`` cannot start because ``other`` starts at ``at``."""
        if self.birth[one] > self.death[other] or self.birth[other] > self.death[one]:
            return at, at  # never in memory at the same time
        low, high = at - num_bytes(one), at + num_bytes(other)
        if self.birth[one] == self.death[other] and (other, one) in self.distances:
            ahead, behind = self.distances[other, one]
            return (low, min(high, at + behind)) if backwards[self.birth[one]] else (max(low, at - ahead), high)
        if self.birth[other] == self.death[one] and (one, other) in self.distances:
            ahead, behind = self.distances[one, other]
            return (max(low, at - behind), high) if backwards[self.birth[other]] else (low, min(high, at + ahead))
        return low, high


def _distances(feature: Feature, windows: list[Window], output: Feature) -> tuple[int, int]:
    """The smallest distances between a pass's input and its output at which it overwrites no pixel still to be read.

    Returns:
        The bytes by which the output must start before the input if the pass goes forwards; and after the input if it
        goes backwards. Negative if the output may start on the other side.
    """
    count = output.height * output.width
    first, last = _seen(feature, windows, output)
    if count == 1:
        return -num_bytes(feature), -num_bytes(output)
    later_first = np.minimum.accumulate(first[::-1])[::-1][1:]  # the lowest pixel that any later step reads
    earlier_last = np.maximum.accumulate(last)[:-1]
    done = np.arange(1, count) * output.channels
    ahead = int(np.max(done - later_first * feature.channels))
    behind = int(np.max((earlier_last + 1) * feature.channels - done))
    return ahead, behind


def _seen(feature: Feature, windows: list[Window], output: Feature) -> tuple[Array, Array]:
    """The first and the last input pixel that each output pixel depends on, both int64 (pixels,)."""
    first = np.full(output.height * output.width, feature.height * feature.width)
    last = np.zeros_like(first)
    rows, columns = np.divmod(np.arange(len(first)), output.width)
    for window in windows:
        corners = []
        for tap in (np.zeros(2, dtype=np.int64), np.array(window.kernel) - 1):
            offset = tap * window.dilation - window.padding
            row = np.clip(rows * window.stride[0] + offset[0], 0, feature.height - 1)
            column = np.clip(columns * window.stride[1] + offset[1], 0, feature.width - 1)
            corners.append(row * feature.width + column)
        first, last = np.minimum(first, corners[0]), np.maximum(last, corners[1])
    return first, last
