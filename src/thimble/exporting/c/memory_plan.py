"""Where every feature lies in one block of memory, and in what order the pixels are computed, so that little is needed.

Two ideas keep the block small.

*Passes.* A 1x1 convolution or a sum needs of its input only the pixel that was computed last. So it joins the pass
over the image that computes this pixel, and its input is never stored: of a block depthwise -> wide -> narrow -> sum,
the wide part is one pixel at a time. M. Sandler et al., "MobileNetV2" (2018, arXiv:1801.04381), section 5.1, note that
it can be.

*Overlap.* A pass writes its output over the part of its input that it will not read again: a 3x3 convolution of as many
channels needs its input and one row more, not twice its input. P. Blacker et al., "Diagonal Memory Optimisation for
Machine Learning on Micro-controllers" (2020, arXiv:2010.01668).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .integer_graph import Array, Feature, IntegerGraph, Layer, Window


@dataclass(frozen=True, eq=False)
class Pass:
    """Layers that are computed together, pixel by pixel.

    Attributes:
        layers: the first sees a window of ``input``; the others see the pixel that the one before gave.
        output: what is stored of it; None behind the logits.
    """

    layers: tuple[Layer, ...]

    @property
    def input(self) -> Feature:
        return self.layers[0].inputs[0]

    @property
    def output(self) -> Feature | None:
        return self.layers[-1].output

    def operands(self) -> list[Feature]:
        """What its sums add to the pixel."""
        found, before = [], self.input
        for layer in self.layers:
            if layer.kind == "sum":
                found.append(_other(layer, before))
            before = layer.output or before
        return found

    def reads(self) -> dict[Feature, list[Window]]:
        """What it reads of what is stored."""
        result = {self.input: [self.layers[0].window]}
        for feature in self.operands():
            result.setdefault(feature, []).append(Window())
        return result


@dataclass(frozen=True)
class Plan:
    """Where and in what order.

    Attributes:
        offsets: of each stored feature, in bytes, by its name.
        backwards: of each pass, whether it goes from the last pixel to the first.
        num_bytes: of the whole block.
    """

    offsets: dict[str, int]
    backwards: tuple[bool, ...]
    num_bytes: int


def passes_of(graph: IntegerGraph) -> list[Pass]:
    """Join every layer that can be to the pass before it."""
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
    """Place all features, trying a few orders of placing them and directions of the passes, and keep the best."""
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
    """Of a stored feature, one byte a number."""
    return feature.height * feature.width * feature.channels


def _improve(placing: _Placing, backwards: tuple[bool, ...]) -> Plan:
    """Turn one pass at a time, as long as it helps."""
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
    """Features are placed one after the other, each as low as those that were placed before let it."""

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
        """Between which two offsets, both allowed, ``one`` cannot begin because ``other`` begins at ``at``."""
        if self.birth[one] > self.death[other] or self.birth[other] > self.death[one]:
            return at, at  # never there at the same time
        low, high = at - num_bytes(one), at + num_bytes(other)
        if self.birth[one] == self.death[other] and (other, one) in self.distances:
            ahead, behind = self.distances[other, one]
            return (low, min(high, at + behind)) if backwards[self.birth[one]] else (max(low, at - ahead), high)
        if self.birth[other] == self.death[one] and (one, other) in self.distances:
            ahead, behind = self.distances[one, other]
            return (max(low, at - behind), high) if backwards[self.birth[other]] else (low, min(high, at + ahead))
        return low, high


def _distances(feature: Feature, windows: list[Window], output: Feature) -> tuple[int, int]:
    """How far before its input a pass must write that goes forwards, and how far behind it one that goes backwards.

    In bytes, from start to start, such that no pixel is overwritten that is still to be read. Negative where it may lie
    on the other side.
    """
    count = output.height * output.width
    first, last = _seen(feature, windows, output)
    if count == 1:
        return -num_bytes(feature), -num_bytes(output)
    later_first = np.minimum.accumulate(first[::-1])[::-1][1:]  # the first pixel that any later step reads
    earlier_last = np.maximum.accumulate(last)[:-1]
    done = np.arange(1, count) * output.channels
    ahead = int(np.max(done - later_first * feature.channels))
    behind = int(np.max((earlier_last + 1) * feature.channels - done))
    return ahead, behind


def _seen(feature: Feature, windows: list[Window], output: Feature) -> tuple[Array, Array]:
    """The first and the last input pixel that each output pixel sees, both int64 (pixels,)."""
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
