"""How the weights move: parameter groups, the optimizers, the learning rate of a step, the average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from .config import TrainConfig
from .models import Classifier


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


class Muon(torch.optim.Optimizer):
    """Momentum whose direction is orthogonalised, for convolutions of constant norm.

    A filter bank is a matrix, of one row for each output channel. The step goes along the orthogonal matrix nearest to
    its Nesterov momentum: all directions that the gradient has at all move by the same length, the weak ones too.
    Before each step the weights are brought to the norm ``sqrt(out_channels)``. BatchNorm divides by their scale
    anyway, so that only the direction matters; with the norm fixed, the learning rate is an angle, and takes the place
    of weight decay.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024,
    kellerjordan.github.io/posts/muon), in the form of cifar10-airbench's airbench94_muon (2024).

    Args:
        params: weights of two or more dimensions, each followed by a normalisation.
        lr: the length of a step, as a share of the weights' norm to within the iteration's error.
        momentum: from 0 to less than 1.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._move(weights, group["lr"], group["momentum"])
        return loss

    def _move(self, weights: list[Tensor], lr: float, momentum: float) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        directions = list(torch._foreach_add(gradients, buffers, alpha=momentum))
        # Filter banks of one shape are orthogonalised together: a few small products instead of many tiny ones.
        alike: dict[tuple[int, int], list[int]] = {}
        for index, weight in enumerate(weights):
            alike.setdefault((weight.shape[0], weight[0].numel()), []).append(index)
        for shape, indices in alike.items():
            matrices = orthogonalize(torch.stack([directions[index].reshape(shape) for index in indices]))
            for index, matrix in zip(indices, matrices, strict=True):
                directions[index] = matrix.view_as(weights[index])
        scales = torch._foreach_norm(weights)
        torch._foreach_clamp_min_(scales, 1e-7)
        torch._foreach_reciprocal_(scales)
        torch._foreach_mul_(scales, [math.sqrt(weight.shape[0]) for weight in weights])
        torch._foreach_mul_(weights, list(scales))
        torch._foreach_add_(weights, directions, alpha=-lr)


def orthogonalize(matrices: Tensor, num_steps: int = 3) -> Tensor:
    """Bring the singular values of matrices near one, by a Newton-Schulz iteration of fifth order.

    The three coefficients are K. Jordan's (see ``Muon``): they raise small singular values as fast as can be, at the
    price of ending between about 0.7 and 1.2 instead of at one, which does a training no harm.

    Args:
        matrices: float (batch, rows, columns); of a zero matrix comes a zero matrix.
        num_steps: three are enough here, as in airbench. On a GPU they are computed in bfloat16, as there: in float32
            they would take as long as the rest of a large network's step.

    Returns:
        a new tensor of the same shape and type.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices  # the products below are of the smaller side squared
    x = x.bfloat16() if x.is_cuda else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)  # so that no singular value is above one
    for _ in range(num_steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, polynomial, x, beta=3.4445)
    x = x.to(matrices.dtype)
    return x.mT if tall else x


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
    """An average of a model's parameters and buffers: exponential and moving, or at last of equal shares.

    Args:
        model: what to average; the average starts as its copy.
        decay: the share of the average that a step keeps, from 0 (always the model itself) to less than 1. In the
            first steps it is smaller, (1 + step) / (10 + step), so that the initial weights are soon forgotten.
        swa_start: the step, counted from 0, from which on the average is the plain mean of the weights after each step
            (P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
            arXiv:1803.05407). BatchNorm's statistics are averaged too, rather than measured anew. None: never.

    Attributes:
        model: the averaged model, in eval mode; a module of its own. With neither it shares the model's tensors.
        is_model: whether it does.
    """

    def __init__(self, model: Classifier, decay: float, swa_start: int | None = None) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay, self.swa_start = decay, swa_start
        self.is_model = decay == 0 and swa_start is None
        self._pairs: tuple[list[Tensor], ...] = ()
        if self.is_model:
            self.model.load_state_dict(model.state_dict(), assign=True)
        self.model.requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model after a step, counted from 0."""
        if self.is_model:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        if self.swa_start is not None and step >= self.swa_start:
            decay = (step - self.swa_start) / (step - self.swa_start + 1)
        averages, currents, counts, current_counts = self._pairs or self._paired(model)
        torch._foreach_lerp_(averages, currents, 1.0 - decay)
        torch._foreach_copy_(counts, current_counts)

    def _paired(self, model: nn.Module) -> tuple[list[Tensor], ...]:
        """The average's and the model's tensors that are averaged, and those that count: BatchNorm's batches.

        Found once: a network's tensors are moved by what is in them, never exchanged.
        """
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        counting = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._pairs = tuple([pair[side] for pair in kind] for kind in (floating, counting) for side in (0, 1))
        return self._pairs
