"""The batches of an epoch: which images, in which order, augmented and scaled how.

Whatever is random here follows from (seed, epoch, step, process) alone: the batches of a run are the same for any
number of workers, and a run that resumes in mid-epoch sees the very images it would have seen.
"""

from __future__ import annotations

import signal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from thimble.data.augment.batched import BatchAugmenter
from thimble.data.augment.one_by_one import Augmenter
from thimble.data.dataset import ImageDataset
from thimble.system.seeds import derive_seed


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


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale float images (N, 3, height, width) to ``size``, (height, width), smoothed against aliasing."""
    if images.shape[2:] == size:
        return images
    smaller = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
    return smaller.contiguous(memory_format=torch.channels_last)
