"""What changes over a run: the learning rate of a step, the side of an epoch's images."""

from __future__ import annotations

import math
from collections.abc import Sequence


def image_size(epoch: int, num_epochs: int, sizes: Sequence[int]) -> int | None:
    """The side of an epoch's training images, in pixels; None for the data's own.

    Args:
        epoch: from 0 to num_epochs - 1.
        num_epochs: of the whole run, over which the sizes are spread evenly; the last epoch has the last of them.
        sizes: in their order; none for the data's own throughout.
    """
    return sizes[math.ceil((epoch + 1) * len(sizes) / num_epochs) - 1] if sizes else None


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
