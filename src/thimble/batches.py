"""The batches of an epoch: which images, in which order, augmented and scaled how.

Whatever is random here follows from (seed, epoch, step, process) alone: the batches of a run are the same for any
number of workers, and a run that resumes in mid-epoch sees the very images it would have seen.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .augment import Augmenter, BatchAugmenter
from .data import ImageDataset
from .runtime import derive_seed


class EpochBatches(Dataset[tuple[Tensor, Tensor]]):
    """The batches of one epoch, made when they are asked for: item k is the k-th batch of this process.

    Args:
        dataset: the training images, on the device where the augmenter works.
        augmenter: what is done to them; None: nothing.
        batch_size: images in a step of all processes together.
        seed, epoch: what the order and the augmentation follow from.
        rank, world_size: this process among all; each takes every world_size-th image of a batch.
        pool: the indices, int64, of the images to draw from; by default all.

    The last images of the order that fill no whole batch are left out, others in every epoch.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        augmenter: Augmenter | BatchAugmenter | None,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world_size: int = 1,
        pool: Tensor | None = None,
    ) -> None:
        self.dataset, self.augmenter, self.batch_size = dataset, augmenter, batch_size
        self.seed, self.epoch, self.rank, self.world_size = seed, epoch, rank, world_size
        generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
        order = torch.randperm(len(dataset) if pool is None else len(pool), generator=generator)
        order = order.to(dataset.images.device)
        self.order = order if pool is None else pool.to(order.device)[order]

    def __len__(self) -> int:
        return len(self.order) // self.batch_size

    def indices(self, batch: int) -> Tensor:
        """Which images of the dataset this process has in a batch, int64 (n,)."""
        return self.order[batch * self.batch_size : (batch + 1) * self.batch_size][self.rank :: self.world_size]

    def __getitem__(self, batch: int) -> tuple[Tensor, Tensor]:
        """Images (n, 3, height, width), uint8 in channels-last memory, and labels (n,), int64."""
        chosen = self.indices(batch)
        images, labels = self.dataset.images[chosen], self.dataset.labels[chosen]
        if self.augmenter is None:
            return images, labels
        return self.augmenter.augment(images, derive_seed(self.seed, self.epoch, batch, self.rank)), labels

    def loader(self, first_batch: int, workers: int, pin_memory: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        """The batches from ``first_batch`` on, in order, made ahead by so many worker processes (0: in this one)."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(first_batch, len(self)),
            num_workers=workers,
            pin_memory=pin_memory,
            worker_init_fn=_leave_signals_to_the_parent,
            # Without a generator of its own, a DataLoader draws from the global one, which dropout's masks follow.
            generator=torch.Generator().manual_seed(0),
        )


def _leave_signals_to_the_parent(worker: int) -> None:
    """A terminal sends Ctrl-C to the workers too, which must go on until the parent has finished its step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


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

    def record(self, indices: Tensor, losses: Tensor) -> None:
        """Note the losses (n,) of the images that ``indices`` (n,) name."""
        self.fresh[indices.to(self.fresh.device, non_blocking=True)] = losses

    def hardest(self, count: int) -> Tensor:
        """The indices of the images with the greatest losses, int64 (count,), in their own order."""
        return self.last.topk(count, sorted=False).indices.sort().values

    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
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


def image_size(epoch: int, num_epochs: int, sizes: Sequence[int]) -> int | None:
    """The side of an epoch's training images, in pixels; None for the data's own.

    Args:
        epoch: from 0 to num_epochs - 1.
        num_epochs: of the whole run, over which the sizes are spread evenly; the last epoch has the last of them.
        sizes: in their order; none for the data's own throughout.
    """
    return sizes[math.ceil((epoch + 1) * len(sizes) / num_epochs) - 1] if sizes else None


def resize(images: Tensor, size: int | None) -> Tensor:
    """Scale float images (N, 3, height, width) to squares of ``size`` pixels, smoothed against aliasing."""
    if size is None or images.shape[2:] == (size, size):
        return images
    smaller = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return smaller.contiguous(memory_format=torch.channels_last)
