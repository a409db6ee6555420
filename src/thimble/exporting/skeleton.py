"""Build an integer network's skeleton from an untrained model: the layers, shapes and windows, without any values.

What the C file needs of memory depends on these alone, so that it is known before training. The layers are those of
``integer_graph.read``, in the same order; every weight is 0 and every scale 1.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node, Tracer
from torch.fx.passes.shape_prop import ShapeProp

from thimble.errors import UserError
from thimble.models.classifier import Classifier

from .deployment import GlobalMean, deploy
from .integer_graph import Feature, IntegerGraph, Layer, Window

_PASSED = (nn.Identity, nn.Flatten)


class _Layers(Tracer):
    """Traces down to modules without children: to layers, also to ours."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return next(module.children(), None) is None


def skeleton(model: Classifier) -> IntegerGraph:
    """Build the skeleton of a model's integer network, for one image of its input size.

    Raises:
        UserError: it has a layer that the C file does not support.
    """
    with torch.random.fork_rng(devices=[]):  # new layers draw weights, which nobody needs
        network = deploy(model, preprocess=False).network
    traced = GraphModule(network, _Layers().trace(network))
    with torch.inference_mode():
        ShapeProp(traced).propagate(torch.zeros(1, *model.input_size))
    walk = _Walk(dict(traced.named_modules()))
    for node in traced.graph.nodes:
        walk.take(node)
    table = np.zeros((model.input_size[0], 256), dtype=np.uint8)
    return IntegerGraph(walk.image, table, tuple(walk.layers))


class _Walk:
    """Turns the nodes of a trace into layers.

    Attributes:
        image: the network's input.
        layers: so far.
        features: what each node computed, by the node.
    """

    image: Feature

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules = modules
        self.layers: list[Layer] = []
        self.features: dict[Node, Feature] = {}

    def take(self, node: Node) -> None:
        """Add what a node computes."""
        if node.op == "placeholder":
            self.image = self.features[node] = _feature(node)
            return
        if node.op == "output":
            self.layers[-1] = replace(self.layers[-1], output=None)  # the logits are not stored
            return
        inputs = [self.features[one] for one in node.all_input_nodes]
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(module, _PASSED) or node.target == "flatten":
            self.features[node] = inputs[0]
            return
        if isinstance(module, nn.ReLU):
            self.features[node] = inputs[0]
            at = next(at for at, layer in enumerate(self.layers) if layer.output is inputs[0])
            self.layers[at] = replace(self.layers[at], relu=True)
            return
        self.features[node] = _feature(node)
        self.layers.append(self._layer(node, module, inputs))

    def _layer(self, node: Node, module: nn.Module | None, inputs: list[Feature]) -> Layer:
        common: dict[str, Any] = {"name": node.name, "inputs": tuple(inputs), "output": self.features[node]}
        if node.target is operator.add and len(inputs) == 2:
            return Layer(kind="sum", **common)
        if isinstance(module, nn.Conv2d):
            weights = np.zeros((*module.weight.shape[:1], *module.weight.shape[2:], module.weight.shape[1]), np.int8)
            return Layer(
                kind="convolution", window=_window(module), groups=module.groups, **_weighted(weights), **common
            )
        if isinstance(module, nn.Linear):
            weights = np.zeros((module.out_features, 1, 1, module.in_features), np.int8)
            return Layer(kind="convolution", **_weighted(weights), **common)
        if isinstance(module, nn.MaxPool2d) and not module.ceil_mode:
            return Layer(kind="maximum", window=_window(module), **common)
        if isinstance(module, GlobalMean):
            return Layer(kind="average", window=Window((inputs[0].height, inputs[0].width)), **common)
        found = node.target if module is None else type(module).__name__
        raise UserError(f"the network has {found}, which the C file does not support")


def _feature(node: Node) -> Feature:
    """A node's output, for one image; a vector is one pixel."""
    _, channels, height, width = (*node.meta["tensor_meta"].shape, 1, 1)[:4]
    return Feature(node.name, height, width, channels, scale=1.0, zero_point=0)


def _weighted(weights: Any) -> dict[str, Any]:
    channels = len(weights)
    return {"weights": weights, "weight_scales": np.ones(channels), "bias": np.zeros(channels, np.int32)}


def _window(module: Any) -> Window:
    kernel, stride, dilation = (_pair(one) for one in (module.kernel_size, module.stride, module.dilation))
    padding = module.padding
    if isinstance(padding, str):
        padding = [
            step * (side - 1) // 2 if padding == "same" else 0 for side, step in zip(kernel, dilation, strict=True)
        ]
    return Window(kernel, stride, dilation, _pair(padding))


def _pair(value: Any) -> tuple[int, int]:
    one, other = (value, value) if isinstance(value, int) else value
    return one, other
