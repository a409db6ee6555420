"""Summarize a model: its layers, with their output shapes, parameters, multiply-adds and receptive fields."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from thimble.errors import UserError
from thimble.models import MODELS, build_model
from thimble.models.classifier import Classifier
from thimble.storage.find import Model, load_model
from thimble.system.arguments import take

from .receptive_field import ReceptiveField, receptive_fields

BUDGET = 150_576
"""The default limit on a network's parameters: the size of the reference network."""


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a model.

    Attributes:
        name: its path in the model, such as ``"c1.0"``.
        type: its class, such as ``"Conv2d"``.
        output_shape: (channels, height, width) of its output for one image.
        num_parameters: its parameters; 0 if the layer has appeared before.
        num_multiply_adds: see ``Summary``. For a layer that runs more than once, its first row has the total.
        receptive_field: side of the square of pixels that a unit depends on; pooling to 1x1 does not change it. None if
            the recurrence does not apply to the model: see ``thimble.measuring.receptive_field``.
        jump: distance between the squares of neighbouring units, in pixels; None as for ``receptive_field``.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    num_parameters: int
    num_multiply_adds: int
    receptive_field: int | None
    jump: int | None


@dataclass(frozen=True)
class Summary:
    """A model's layers, in the order in which they run, and its totals.

    One multiply-add is one multiplication and one addition (two floating-point operations). They are counted for the
    forward pass of one image, in convolutions and linear layers only, without biases; norms, activations and pooling
    count as 0.

    Attributes:
        model: the architecture's name.
        input_size: (channels, height, width) of the image for shapes and multiply-adds.
        layers: the layers without children.
        num_parameters: all parameters, trainable or frozen; a shared parameter counts once.
        num_multiply_adds: the multiply-adds of all layers.
        budget: the maximum number of parameters.
    """

    model: str
    input_size: tuple[int, int, int]
    layers: tuple[LayerSummary, ...]
    num_parameters: int
    num_multiply_adds: int
    budget: int = BUDGET

    @property
    def parameter_bytes(self) -> int:
        """Memory of the parameters in float32, four bytes each."""
        return 4 * self.num_parameters

    @property
    def within_budget(self) -> bool:
        """Whether the model has at most ``budget`` parameters."""
        return self.num_parameters <= self.budget

    @property
    def receptive_field(self) -> int | None:
        """The receptive field of the last layer, in pixels; None if the recurrence does not apply to the model."""
        return self.layers[-1].receptive_field if self.layers else None

    def to_dict(self) -> dict[str, Any]:
        """The fields and properties as values that JSON can hold; tuples become lists."""
        layers = [{**dataclasses.asdict(layer), "output_shape": list(layer.output_shape)} for layer in self.layers]
        return {
            "model": self.model,
            "input_size": list(self.input_size),
            "layers": layers,
            "num_parameters": self.num_parameters,
            "num_multiply_adds": self.num_multiply_adds,
            "parameter_bytes": self.parameter_bytes,
            "receptive_field": self.receptive_field,
            "budget": self.budget,
            "within_budget": self.within_budget,
        }


def summarize(model: Model, input_size: tuple[int, int, int] | None = None, budget: int = BUDGET) -> Summary:
    """Summarize a model, without changing it.

    Args:
        model: a network; an architecture's name, which needs no weights; a weights file or a run folder.
        input_size: (channels, height, width) of the images. Default: the size of the model's training images.
        budget: the maximum number of parameters, for ``within_budget``; a larger model is summarized too.

    Raises:
        UserError: there is no such model, or it cannot take images of that size.
    """
    budget = take("budget", budget, int, "a number of parameters")
    input_size = take("input_size", input_size, tuple[int, ...] | None, "(channels, height, width), whole numbers")
    model = build_model(model) if isinstance(model, str) and model in MODELS else load_model(model)
    size = model.input_size if input_size is None else input_size
    if len(size) != 3 or size[0] != model.input_size[0] or min(size) < 1:
        expected = f"({model.input_size[0]}, height, width), height and width at least 1"
        raise UserError(f"input size {size} for model {model.name}: expected {expected}")
    layers, num_multiply_adds = _walk(model, size)
    return Summary(
        model=model.name,
        input_size=size,
        layers=layers,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        num_multiply_adds=num_multiply_adds,
        budget=budget,
    )


def _walk(model: Classifier, size: tuple[int, int, int]) -> tuple[tuple[LayerSummary, ...], int]:
    """Run one image through a copy of the model; returns its layers and their total multiply-adds."""
    # Imported here, because the import takes time that few callers of thimble need.
    import torchinfo
    from torch.utils.flop_counter import FlopCounterMode

    # A copy, because torchinfo moves the model between devices and sets the mode of all layers.
    twin = copy.deepcopy(model).cpu().float()
    names = {id(module): name for name, module in twin.named_modules()}
    try:
        with FlopCounterMode(display=False) as counter:
            # With no input_data, torchinfo would draw a random image, which would change the results of a training.
            walk = torchinfo.summary(twin, input_data=torch.zeros(1, *size), device="cpu", mode="eval", verbose=0)
    except RuntimeError as error:
        raise UserError(f"model {model.name} cannot take an image of {size}: {error.__cause__ or error}") from error

    fields = _fields(model)
    operations = counter.get_flop_counts()
    layers: list[LayerSummary] = []
    for info in walk.summary_list:
        if not info.is_leaf_layer:
            continue
        name = names[info.layer_id]
        flops = 0 if info.is_recursive else sum(operations.get(f"{type(twin).__name__}.{name}", {}).values())
        field = fields.get(name)
        layers.append(
            LayerSummary(
                name=name,
                type=info.class_name,
                output_shape=tuple(info.output_size[1:]),
                num_parameters=0 if info.is_recursive else info.num_params,
                num_multiply_adds=flops // 2,
                receptive_field=field.size if field else None,
                jump=field.jump if field else None,
            )
        )
    return tuple(layers), counter.get_total_flops() // 2


def _fields(model: torch.nn.Module) -> dict[str, ReceptiveField]:
    """The receptive field after each layer, by path; empty if the recurrence does not apply to the model."""
    try:
        return receptive_fields(model)
    except ValueError:
        return {}
