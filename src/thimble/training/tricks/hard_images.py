"""Skip easy images: those that had the lowest loss when they were last seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thimble.system.lazily import torch
from thimble.system.settings import adopt, require_part, require_types


@dataclass(frozen=True)
class HardImagesConfig:
    """Skip easy images."""

    skip_easy: float | None = 0.0
    """Fraction of the training images to skip, from 0 to less than 1, in each epoch after the first quarter of the
    training: those that had the lowest loss when they were last seen. None: by the number of training images."""

    def __post_init__(self) -> None:
        adopt(self)
        if self.skip_easy is not None:
            require_part(self, "skip_easy")
        require_types(self)


class Hardness:
    """Remembers every training image's last loss, to find the easiest images.

    An epoch uses the losses known at its start. An interrupted epoch therefore resumes with the same images.

    Args:
        num_images: the size of the training set.
        device: the device on which the losses are computed.

    Attributes:
        last: float32 (num_images,), the losses before the current epoch; infinite for images never seen.
        fresh: float32 (num_images,), the losses in the current epoch; -1 for images that it has not seen yet.
    """

    def __init__(self, num_images: int, device: torch.device) -> None:
        self.last = torch.full((num_images,), torch.inf, device=device)
        self.fresh = torch.full((num_images,), -1.0, device=device)

    def record(self, indices: torch.Tensor, losses: torch.Tensor) -> None:
        """Record the losses, float (n,), of the images with these indices, int64 (n,)."""
        self.fresh[indices.to(self.fresh.device, non_blocking=True)] = losses

    def hardest(self, count: int) -> torch.Tensor:
        """The indices of the ``count`` images with the highest losses, int64 (count,), ascending."""
        return self.last.topk(count, sorted=False).indices.sort().values

    def merge(self, total: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Share the current epoch's losses among all processes; ``total`` sums a tensor over the processes."""
        seen = self.fresh >= 0
        count = total(seen.float())
        self.fresh = torch.where(count > 0, total(self.fresh.where(seen, 0.0)) / count, -1.0)

    def end_epoch(self) -> None:
        """Make this epoch's losses the known ones for the next epoch."""
        self.last = torch.where(self.fresh >= 0, self.fresh, self.last)
        self.fresh = torch.full_like(self.fresh, -1.0)


def num_kept(epoch: int, num_epochs: int, num_images: int, skip_easy: float | None) -> int:
    """The number of images that an epoch trains on: all in the first quarter of the epochs, then only the hardest.

    Raises:
        ValueError: the fraction to skip is not chosen yet.
    """
    if skip_easy is None:
        raise ValueError("the fraction of easy images to skip is not chosen yet: expected a number")
    return num_images if epoch < num_epochs / 4 else num_images - int(skip_easy * num_images)
