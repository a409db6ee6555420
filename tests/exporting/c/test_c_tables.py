"""The tables of the C file: nothing overflows, sums of two scales are right, sizes are those of the arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from exports_shared import integer_graph

from thimble.errors import RunError
from thimble.exporting.c.memory_plan import passes_of
from thimble.exporting.c.tables import Tables, tabulate
from thimble.exporting.integer_graph import Feature, IntegerGraph


@pytest.fixture(scope="module")
def graph() -> IntegerGraph:
    return integer_graph("thimble-78k")


@pytest.fixture(scope="module")
def tables(graph: IntegerGraph) -> Tables:
    return tabulate(graph)


def test_an_array_has_as_many_numbers_as_it_says_of_the_type_that_it_says(tables: Tables) -> None:
    ranges = {"int8_t": (-128, 127), "uint8_t": (0, 255), "int32_t": (-(2**31), 2**31 - 1)}
    assert len({array.name for array in tables.arrays}) == len(tables.arrays)
    for array in tables.arrays:
        numbers = [float(text.strip().rstrip("f")) for text in array.text.split(",") if text.strip()]
        assert len(numbers) == array.length
        low, high = ranges.get(array.type, (-np.inf, np.inf))
        assert low <= min(numbers) <= max(numbers) <= high


def test_all_weights_are_in_flash(graph: IntegerGraph, tables: Tables) -> None:
    weights = sum(layer.weights.size for layer in graph.layers if layer.weights is not None)
    stored = sum(array.length for array in tables.arrays if array.type == "int8_t")
    assert weights <= stored <= 1.2 * weights  # whole tiles
    assert stored < tables.flash_bytes
    assert tables.ram_bytes == tables.arena + tables.patch + 4 * tables.sums + tables.pixel


def test_every_address_is_within_the_arena(tables: Tables) -> None:
    for one in tables.passes:
        fields = one["fields"]
        size = fields["output_height"] * fields["output_width"] * fields["output_channels"]
        assert 0 <= fields["output"] <= fields["output"] + size <= tables.arena
        assert 0 <= fields["input"] < tables.arena
        for layer in one["layers"]:
            assert 0 <= layer.get("other", 0) < tables.arena


def test_a_sum_in_integers_is_the_sum_in_real_numbers(graph: IntegerGraph, tables: Tables) -> None:
    """Of all pairs of numbers, as the template computes it: right to half a step, and within 32 bits."""
    numbers, seen = np.arange(256), 0
    for step, one in zip(passes_of(graph), tables.passes, strict=True):
        pixel = step.input
        for layer in step.layers:
            if layer.kind == "sum":
                assert layer.output is not None
                found = one["layers"][-1 - step.layers[::-1].index(layer)]
                other = layer.inputs[1] if layer.inputs[0] is pixel else layer.inputs[0]
                products = numbers[:, None] * found["factor"], numbers[None] * found["other_factor"]
                total = products[0] + products[1] + found["offset"]
                assert max(np.abs(part).max() for part in (*products, total)) < 2**31
                real = real_of(numbers[:, None], pixel) + real_of(numbers[None], other)
                exact = real / layer.output.scale + layer.output.zero_point
                assert np.abs((total >> found["shift"]) - exact).max() <= 0.5 + 1e-3
                seen += 1
            pixel = layer.output or pixel
    assert seen == sum(layer.kind == "sum" for layer in graph.layers) > 0


def real_of(numbers: np.ndarray, feature: Feature) -> np.ndarray:
    return (numbers - feature.zero_point) * feature.scale


def test_a_sum_does_not_depend_on_the_order_of_its_operands(graph: IntegerGraph, tables: Tables) -> None:
    swapped = [
        dataclasses.replace(layer, inputs=layer.inputs[::-1]) if layer.kind == "sum" else layer
        for layer in graph.layers
    ]
    assert tabulate(dataclasses.replace(graph, layers=tuple(swapped))).passes == tables.passes


def test_a_sum_that_would_overflow_is_refused(graph: IntegerGraph) -> None:
    first, *others = graph.layers
    assert first.bias is not None
    huge = dataclasses.replace(first, bias=np.full_like(first.bias, 2**31 - 1))
    with pytest.raises(RunError, match=r"may reach .*: expected less than 2\*\*31 for an int32_t"):
        tabulate(dataclasses.replace(graph, layers=(huge, *others)))


def test_a_sum_of_scales_too_far_apart_is_refused(graph: IntegerGraph) -> None:
    layer = next(layer for layer in graph.layers if layer.kind == "sum")
    output = layer.output
    assert output is not None
    small = dataclasses.replace(output, scale=output.scale / 2.0**40)
    layers = tuple(
        dataclasses.replace(
            one,
            inputs=tuple(small if feature is output else feature for feature in one.inputs),
            output=small if one is layer else one.output,
        )
        for one in graph.layers
    )
    with pytest.raises(RunError, match=r"scales its input by .*: expected less than"):
        tabulate(dataclasses.replace(graph, layers=layers))
