"""How long a run is, and what changes over it: the learning rate of a step, the side of an epoch's images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thimble.errors import UserError
from thimble.system.settings import adopt, require, require_fraction, require_types, require_whole

_SMALLEST = 8
"""Pixels that a fraction of a side leaves at least: less has nothing to be recognised by."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How long to train, and what changes meanwhile."""

    epochs: int = 24
    """Passes over the training images."""

    batch_size: int = 128
    """Images in one optimizer step, over all processes together."""

    image_sizes: tuple[float, ...] = ()
    """Sides to which training images are scaled, one after another, each for an equal part of the epochs: as fractions
    of the data's own side (0.5, 1), or in pixels (16, 32). Small ones first save arithmetic; the last should be 1.
    Default: the data's own throughout."""

    warmup_fraction: float = 0.2
    """Part of all steps in which the learning rate rises to its peak, 0..1; it falls to zero in the rest."""

    def __post_init__(self) -> None:
        adopt(self)
        require_whole(self, "epochs", 1, 100_000)
        require_whole(self, "batch_size", 1, 1_000_000)
        sides = "fractions from above 0 to 1, or whole numbers of at least 8 pixels"
        require(
            self, "image_sizes", lambda sizes: all(0 < size <= 1 or 8 <= size == size // 1 for size in sizes), sides
        )
        few = "at most 100 sizes, of at most 1,024 pixels"
        require(self, "image_sizes", lambda sizes: len(sizes) <= 100 and max(sizes, default=0) <= 1024, few)
        require_fraction(self, "warmup_fraction")
        require_types(self)
        in_pixels = tuple(int(size) if size >= 8 else float(size) for size in self.image_sizes)
        object.__setattr__(self, "image_sizes", in_pixels)
        if self.batch_size == 1:
            raise UserError("--batch-size 1 cannot train BatchNorm: expected at least 2")


def image_size(epoch: int, num_epochs: int, sizes: Sequence[float], own: tuple[int, int]) -> tuple[int, int]:
    """The size of an epoch's training images: (height, width) in pixels.

    Args:
        epoch: from 0 to num_epochs - 1.
        num_epochs: of the whole run, over which the sizes are spread evenly; the last epoch has the last of them.
        sizes: in their order, as ``ScheduleConfig.image_sizes`` has them; none for the data's own throughout.
        own: the data's own size, (height, width) in pixels.
    """
    if not sizes:
        return own
    size = sizes[math.ceil((epoch + 1) * len(sizes) / num_epochs) - 1]
    if size > 1:
        return int(size), int(size)
    height, width = (max(round(size * side), min(side, _SMALLEST)) for side in own)
    return height, width


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
