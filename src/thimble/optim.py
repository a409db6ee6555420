"""How the weights move: parameter groups, the optimizer, the learning rate of a step, the average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .config import TrainConfig
from .models import Classifier


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights of convolutions and linear layers with decay; biases and norms, all of one dimension, without."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum (Sutskever et al., "On the importance of initialization and momentum", 2013)."""
    return torch.optim.SGD(
        parameter_groups(model, config.weight_decay),
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
    )


def one_cycle(step: int, num_steps: int, peak: float, warmup_fraction: float) -> float:
    """The learning rate of a step: linearly up to the peak, then linearly down towards zero.

    One cycle in Smith's sense ("Super-Convergence", 2018, arXiv:1708.07120), with straight lines.

    Args:
        step: from 0 to num_steps - 1.
        num_steps: of the whole run.
        peak: the highest learning rate, reached once warmup_fraction of the steps are done.
        warmup_fraction: 0 starts at the peak, 1 only rises.
    """
    warmup = warmup_fraction * num_steps
    # Counted from 1: no step is wasted on a rate of zero, neither the first nor the last.
    if step + 1 < warmup:
        return peak * (step + 1) / warmup
    return peak * min(1.0, (num_steps - step) / max(1.0, num_steps - warmup))


class WeightAverage:
    """An exponential moving average of a model's parameters and buffers.

    Args:
        model: what to average; the average starts as its copy.
        decay: the share of the average that a step keeps, from 0 (always the model itself) to less than 1. In the
            first steps it is smaller, (1 + step) / (10 + step), so that the initial weights are soon forgotten.

    Attributes:
        model: the averaged model, in eval mode; a module of its own.
    """

    def __init__(self, model: Classifier, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = list(self.model.state_dict().values())
        currents = list(model.state_dict().values())
        pairs = [pair for pair in zip(averages, currents, strict=True) if pair[0].is_floating_point()]
        torch._foreach_lerp_([average for average, _ in pairs], [current for _, current in pairs], 1.0 - decay)
        for average, current in zip(averages, currents, strict=True):
            if not average.is_floating_point():  # BatchNorm's count of batches
                average.copy_(current)
