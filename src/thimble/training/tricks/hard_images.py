"""Skipping easy images: which images of the last epoch had the lowest loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thimble.system.lazily import torch
from thimble.system.settings import adopt, require_part, require_types


@dataclass(frozen=True)
class HardImagesConfig:
    """Leave out the images that are easy."""

    skip_easy: float = 0.0
    """Share of the training images, from 0 to less than 1, that each epoch after the first quarter leaves out: those
    whose loss was lowest when they were last seen."""

    def __post_init__(self) -> None:
        adopt(self)
        require_part(self, "skip_easy")
        require_types(self)


class Hardness:
    """The loss of every training image when it was last seen, by which the easiest can be left out.

    An epoch works with the losses that were known when it began, so that one that is interrupted can go on alike.

    Args:
        num_images: of the training set.
        device: where the losses are computed.

    Attributes:
        last: float32 (num_images,), as the epoch under way found it; infinite for images that were never seen.
        fresh: float32 (num_images,), of the epoch under way; -1 for images that it has not seen yet.
    """

    def __init__(self, num_images: int, device: torch.device) -> None:
        self.last = torch.full((num_images,), torch.inf, device=device)
        self.fresh = torch.full((num_images,), -1.0, device=device)

    def record(self, indices: torch.Tensor, losses: torch.Tensor) -> None:
        """Note the losses (n,) of the images that ``indices`` (n,) name."""
        self.fresh[indices.to(self.fresh.device, non_blocking=True)] = losses

    def hardest(self, count: int) -> torch.Tensor:
        """The indices of the images with the greatest losses, int64 (count,), in their own order."""
        return self.last.topk(count, sorted=False).indices.sort().values

    def merge(self, total: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Give all processes what each has seen; ``total`` sums a tensor over them."""
        seen = self.fresh >= 0
        count = total(seen.float())
        self.fresh = torch.where(count > 0, total(self.fresh.where(seen, 0.0)) / count, -1.0)

    def end_epoch(self) -> None:
        """Let the next epoch know what this one has seen."""
        self.last = torch.where(self.fresh >= 0, self.fresh, self.last)
        self.fresh = torch.full_like(self.fresh, -1.0)


def num_kept(epoch: int, num_epochs: int, num_images: int, skip_easy: float) -> int:
    """How many of its images an epoch trains on: all in the first quarter of the epochs, and then the hardest."""
    return num_images if epoch < num_epochs / 4 else num_images - int(skip_easy * num_images)
