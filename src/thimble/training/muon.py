"""Implement Muon, an optimizer that orthogonalises its momentum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised steps, for convolutions whose weights keep a constant norm.

    A convolution's weight is a matrix with one row per output channel. Each step follows the orthogonal matrix nearest
    to the Nesterov momentum, so that weak directions of the gradient move as far as strong ones. Before each step, the
    weights are scaled to the norm ``sqrt(out_channels)``. BatchNorm cancels their scale, so only their direction
    matters. With a fixed norm, the learning rate is an angle, and weight decay is unnecessary.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024,
    kellerjordan.github.io/posts/muon), in the variant of cifar10-airbench's airbench94_muon (2024).

    Args:
        params: weights of two or more dimensions, each followed by a normalisation.
        lr: the length of a step, as a fraction of the weights' norm; approximate, as the iteration is.
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
        """Update every weight that has a gradient."""
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
        # Weights of the same shape are orthogonalised together: a few batched products instead of many tiny ones.
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
    """Bring the singular values of matrices close to 1, by a Newton-Schulz iteration of fifth order.

    The three coefficients are K. Jordan's (see ``Muon``). They raise small singular values as fast as possible; the
    values then end between about 0.7 and 1.2 instead of at 1, which does not harm training.

    Args:
        matrices: float (batch, rows, columns); a zero matrix stays zero.
        num_steps: iterations; three suffice, as in airbench. On a GPU, they run in bfloat16, also as in airbench: in
            float32 they would take as long as the rest of a large network's step.

    Returns:
        A new tensor of the same shape and dtype.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices  # so that gram below is square with the smaller side
    x = x.bfloat16() if x.is_cuda else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)  # so that no singular value exceeds 1
    for _ in range(num_steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, polynomial, x, beta=3.4445)
    x = x.to(matrices.dtype)
    return x.mT if tall else x
