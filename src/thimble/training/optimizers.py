"""The optimizers of a run and their parameter groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .config import TrainConfig
from .muon import Muon


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights of convolutions and linear layers with decay; biases and norms, all of one dimension, without."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """The optimizers of a run, each parameter in one of them; every group has its peak learning rate under "peak".

    Nesterov SGD (Sutskever et al., "On the importance of initialization and momentum", 2013) for all parameters; or,
    with ``optimizer="muon"``, Muon for the convolutions between the input and the head, and Nesterov SGD for the rest:
    norms, biases, depthwise kernels (whose channels have no matrix in common) and the head.
    """
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


def _hidden_convolutions(model: nn.Module) -> list[nn.Parameter]:
    """The weights of all dense convolutions but the last layer, which gives the logits."""
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    dense = [layer for layer in layers[:-1] if isinstance(layer, nn.Conv2d) and layer.groups == 1]
    weights = [layer.weight for layer in dense]
    return [weight for weight in weights if isinstance(weight, nn.Parameter) and weight.requires_grad]
