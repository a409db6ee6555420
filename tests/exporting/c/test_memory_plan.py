"""Where features lie: what is still needed is not written over, and little memory is needed for all of them."""

from __future__ import annotations

import pytest
from exports_shared import integer_graph, seasoned

from thimble.exporting.c.memory_plan import passes_of, plan
from thimble.exporting.c.tables import tabulate
from thimble.exporting.integer_graph import IntegerGraph


@pytest.fixture(scope="module", params=["reference", "thimble-78k"])
def graph(request: pytest.FixtureRequest) -> IntegerGraph:
    return integer_graph(request.param)


def test_the_graph_has_every_layer_once(graph: IntegerGraph) -> None:
    kinds = [layer.kind for layer in graph.layers]
    weights = [layer.weights.size for layer in graph.layers if layer.weights is not None]
    parameters = seasoned("reference" if "sum" not in kinds else "thimble-78k").parameters()
    assert sum(weights) == sum(one.numel() for one in parameters if one.ndim > 1)
    assert kinds.count("average") == 1


def test_every_layer_is_in_one_pass(graph: IntegerGraph) -> None:
    passes = passes_of(graph)
    assert [layer for one in passes for layer in one.layers] == list(graph.layers)
    assert len(passes) < len(graph.layers)


def test_memory_is_less_than_the_two_largest_features_side_by_side(graph: IntegerGraph) -> None:
    """What a plan without overlap and without passes would take: the input and the output of the widest layer."""
    sizes = [
        sum(one.height * one.width * one.channels for one in (*layer.inputs, layer.output) if one is not None)
        for layer in graph.layers
    ]
    placed = plan(graph, passes_of(graph))
    assert min(placed.offsets.values()) >= 0
    assert placed.num_bytes <= tabulate(graph).arena < max(sizes)
