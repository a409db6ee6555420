"""Build a run's optimizers; define their settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from thimble.system.lazily import torch
from thimble.system.settings import adopt, require, require_part, require_positive, require_types


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer and loss."""

    optimizer: Literal["sgd", "muon"] = "sgd"
    """Optimizer: sgd (with Nesterov momentum), or muon: Muon for the convolutions between input and head, SGD for the
    other parameters."""

    learning_rate: float | None = 0.2
    """SGD's peak learning rate in the one-cycle schedule. None: by the batch size."""

    muon_learning_rate: float = 0.05
    """Muon's peak learning rate in the same schedule: the length of a step as a fraction of the weights' norm. Only for
    `--optimizer muon`."""

    momentum: float = 0.9
    """SGD's Nesterov momentum, from 0 to less than 1."""

    muon_momentum: float = 0.9
    """Muon's Nesterov momentum, from 0 to less than 1."""

    weight_decay: float = 5e-4
    """SGD's L2 weight decay on the weights of convolutions and linear layers; none on biases and BatchNorm."""

    clip_norm: float | None = None
    """Largest L2 norm of the gradient; larger ones are scaled down to it. Default: no clipping."""

    label_smoothing: float = 0.1
    """Fraction of the target probability that is spread evenly over all classes, from 0 to less than 1."""

    def __post_init__(self) -> None:
        adopt(self)
        require_positive(self, "learning_rate", "muon_learning_rate", "clip_norm")
        require_part(self, "momentum", "muon_momentum", "label_smoothing")
        require(self, "weight_decay", lambda value: 0.0 <= value < math.inf, "a number of at least 0")
        require_types(self)


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into a group with weight decay (more than one dimension) and one without (biases and norms)."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizers(model: torch.nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Build the run's optimizers. Each parameter group stores its peak learning rate under "peak".

    ``optimizer="sgd"``: Nesterov SGD (Sutskever et al., "On the importance of initialization and momentum", 2013) for
    all parameters. ``optimizer="muon"``: Muon for the convolutions between the input and the head, and Nesterov SGD for
    the rest: normalisation layers, biases, the head, and depthwise convolutions (whose channels do not form a matrix).
    """
    from .muon import Muon  # here, because its base class imports PyTorch

    groups = parameter_groups(model, config.weight_decay)
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        hidden = _hidden_convolutions(model)
        chosen = {id(weight) for weight in hidden}
        groups[0]["params"] = [weight for weight in groups[0]["params"] if id(weight) not in chosen]
        muon = Muon(hidden, lr=config.muon_learning_rate, momentum=config.muon_momentum)
        optimizers.append(muon)
    if config.learning_rate is None:
        raise ValueError("the learning rate is not chosen yet: expected a number")
    sgd = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0)
    optimizers.append(sgd)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _hidden_convolutions(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The weights of all dense convolutions except the last layer, which computes the logits."""
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    dense = [layer for layer in layers[:-1] if isinstance(layer, torch.nn.Conv2d) and layer.groups == 1]
    weights = [layer.weight for layer in dense]
    return [weight for weight in weights if isinstance(weight, torch.nn.Parameter) and weight.requires_grad]
