"""Compute what changes during a run: each step's learning rate and each epoch's image size; define its length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thimble.errors import UserError
from thimble.system.settings import adopt, require, require_fraction, require_types, require_whole

_SMALLEST = 8
"""Smallest side in pixels that a fraction gives: on smaller images nothing can be recognised."""
_FIXED_COST = 0.07


@dataclass(frozen=True)
class ScheduleConfig:
    """Length of the training, image sizes and learning rate schedule."""

    epochs: int = 24
    """Passes over the training images. 0: the fewer images, the more."""

    batch_size: int = 128
    """Images in one optimizer step, over all processes together. 0: by the number of images."""

    image_sizes: tuple[float, ...] = ()
    """Sizes of the training images, each for an equal part of the epochs: fractions of their full side (0.5, 1) or
    pixels (16, 32). Small sizes first save time; the last should be 1. If empty: always full size."""

    warmup_fraction: float = 0.2
    """Fraction of all steps, 0..1, during which the learning rate rises to its peak; then it falls to zero."""

    def __post_init__(self) -> None:
        adopt(self)
        require_whole(self, "epochs", 0, 100_000)
        require_whole(self, "batch_size", 0, 1_000_000)
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
        num_epochs: epochs in the whole run. The sizes are spread evenly over them; the last epoch has the last size.
        sizes: as in ``ScheduleConfig.image_sizes``; if empty, every epoch has full size.
        own: the images' full size, (height, width) in pixels.
    """
    if not sizes:
        return own
    size = sizes[math.ceil((epoch + 1) * len(sizes) / num_epochs) - 1]
    if size > 1:
        return int(size), int(size)
    height, width = (max(round(size * side), min(side, _SMALLEST)) for side in own)
    return height, width


def image_cost(epoch: int, num_epochs: int, sizes: Sequence[float]) -> float:
    """About the time that an image takes in an epoch, as a fraction of its time at the largest of ``sizes``.

    It grows with the area, and a part of it is there at any size: 7% for thimble-150k at 28 pixels, on two CPU cores
    (benchmarks/results/image_cost_2026-11-27.txt).
    """
    if not sizes:
        return 1.0
    thousandths = [round(1000 * size / max(sizes)) for size in sizes]
    side = image_size(epoch, num_epochs, thousandths, (1000, 1000))[0] / 1000
    return (side**2 + _FIXED_COST) / (1 + _FIXED_COST)


def one_cycle(step: int, num_steps: int, peak: float, warmup_fraction: float) -> float:
    """The learning rate of a step: it rises linearly to the peak, then falls linearly towards zero.

    This is Smith's one-cycle schedule ("Super-Convergence", 2018, arXiv:1708.07120) with straight lines.

    Args:
        step: from 0 to num_steps - 1.
        num_steps: steps in the whole run.
        peak: the highest learning rate, reached after ``warmup_fraction`` of the steps.
        warmup_fraction: 0 starts at the peak, 1 only rises.
    """
    warmup = warmup_fraction * num_steps
    # Count steps from 1, so that neither the first nor the last step is wasted on a learning rate of zero.
    if step + 1 < warmup:
        return peak * (step + 1) / warmup
    return peak * min(1.0, (num_steps - step) / max(1.0, num_steps - warmup))
