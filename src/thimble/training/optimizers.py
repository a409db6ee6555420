"""The optimizers of a run, their settings and their parameter groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from thimble.system.lazily import torch
from thimble.system.settings import adopt, require, require_part, require_positive, require_types


@dataclass(frozen=True)
class OptimizerConfig:
    """What moves the weights, and the loss that it lowers."""

    optimizer: Literal["sgd", "muon"] = "sgd"
    """What moves the weights: Nesterov SGD; or Muon for the convolutions between input and head, SGD for the rest."""

    learning_rate: float = 0.2
    """Peak learning rate of SGD in the one-cycle schedule."""

    muon_learning_rate: float = 0.05
    """Peak learning rate of Muon in the same schedule: the step as a share of a convolution's norm. SGD has none."""

    momentum: float = 0.9
    """Nesterov momentum of SGD, from 0 to less than 1."""

    muon_momentum: float = 0.9
    """Nesterov momentum of Muon, from 0 to less than 1."""

    weight_decay: float = 5e-4
    """L2 decay of the weights of convolutions; biases and norms have none."""

    clip_norm: float | None = None
    """Clip the gradient to this L2 norm (None: never)."""

    label_smoothing: float = 0.1
    """Share of the target probability spread over all classes, from 0 to less than 1."""

    def __post_init__(self) -> None:
        adopt(self)
        require_positive(self, "learning_rate", "muon_learning_rate", "clip_norm")
        require_part(self, "momentum", "muon_momentum", "label_smoothing")
        require(self, "weight_decay", lambda value: 0.0 <= value < math.inf, "a number of at least 0")
        require_types(self)


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights of convolutions and linear layers with decay; biases and norms, all of one dimension, without."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizers(model: torch.nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """The optimizers of a run, each parameter in one of them; every group has its peak learning rate under "peak".

    Nesterov SGD (Sutskever et al., "On the importance of initialization and momentum", 2013) for all parameters; or,
    with ``optimizer="muon"``, Muon for the convolutions between the input and the head, and Nesterov SGD for the rest:
    norms, biases, depthwise kernels (whose channels have no matrix in common) and the head.
    """
    from .muon import Muon  # a subclass of PyTorch's, which would be imported with it

    groups = parameter_groups(model, config.weight_decay)
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        hidden = _hidden_convolutions(model)
        chosen = {id(weight) for weight in hidden}
        groups[0]["params"] = [weight for weight in groups[0]["params"] if id(weight) not in chosen]
        muon = Muon(hidden, lr=config.muon_learning_rate, momentum=config.muon_momentum)
        optimizers.append(muon)
    sgd = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0)
    optimizers.append(sgd)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _hidden_convolutions(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The weights of all dense convolutions but the last layer, which gives the logits."""
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    dense = [layer for layer in layers[:-1] if isinstance(layer, torch.nn.Conv2d) and layer.groups == 1]
    weights = [layer.weight for layer in dense]
    return [weight for weight in weights if isinstance(weight, torch.nn.Parameter) and weight.requires_grad]
