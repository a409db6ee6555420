"""Average the weights over the training steps."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thimble.system.lazily import torch
from thimble.system.settings import adopt, require_part, require_types

if TYPE_CHECKING:
    from thimble.models.classifier import Classifier


@dataclass(frozen=True)
class AveragingConfig:
    """Average the weights over the steps."""

    ema_decay: float = 0.99
    """Decay per step of the weights' exponential moving average, from 0 (no averaging) to less than 1. The averaged
    weights are validated, tested and saved."""

    swa_fraction: float = 0.0
    """Fraction of all steps, from 0 (none) to less than 1, at the end of training, over which the plain mean of the
    weights replaces the moving average (stochastic weight averaging)."""

    def __post_init__(self) -> None:
        adopt(self)
        require_part(self, "ema_decay", "swa_fraction")
        require_types(self)


class WeightAverage:
    """An average of a model's parameters and buffers: an exponential moving average, then optionally a plain mean.

    Args:
        model: the model to average; the average starts as a copy of it.
        decay: the fraction of the average that each step keeps, from 0 (no averaging) to less than 1. In the first
            steps it is at most (1 + step) / (10 + step), so that the initial weights are soon forgotten.
        swa_start: from this step on, counted from 0, the average is the plain mean of the weights after each step
            (P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
            arXiv:1803.05407). BatchNorm's statistics are averaged too, not measured anew. None: never.

    Attributes:
        model: the averaged model, in eval mode; a separate module.
        is_model: whether there is nothing to average (decay 0, no ``swa_start``), so that ``model`` shares the trained
            model's tensors.
    """

    def __init__(self, model: Classifier, decay: float, swa_start: int | None = None) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay, self.swa_start = decay, swa_start
        self.is_model = decay == 0 and swa_start is None
        self._pairs: tuple[list[torch.Tensor], ...] = ()
        if self.is_model:
            self.model.load_state_dict(model.state_dict(), assign=True)
        self.model.requires_grad_(False)

    def update(self, model: torch.nn.Module, step: int) -> None:
        """Update the average with the model's weights after a step, counted from 0."""
        if self.is_model:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        if self.swa_start is not None and step >= self.swa_start:
            decay = (step - self.swa_start) / (step - self.swa_start + 1)
        averages, currents, counts, current_counts = self._pairs or self._paired(model)
        with torch.no_grad():
            torch._foreach_lerp_(averages, currents, 1.0 - decay)
            torch._foreach_copy_(counts, current_counts)

    def _paired(self, model: torch.nn.Module) -> tuple[list[torch.Tensor], ...]:
        """Pair the average's and the model's tensors: those to average, and integer ones to copy (BatchNorm's counts).

        Done once: training changes the tensors' values, but never replaces the tensors.
        """
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        counting = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._pairs = tuple([pair[side] for pair in kind] for kind in (floating, counting) for side in (0, 1))
        return self._pairs
