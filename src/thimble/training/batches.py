"""Make the batches of an epoch: choose, order and augment the training images, and scale them.

All randomness here follows from (seed, epoch, step, process). A run therefore gets the same batches with any number of
workers, and a run that is resumed in mid-epoch gets the images that it would have got without the interruption.
"""

from __future__ import annotations

import signal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from thimble.data.augment.batched import BatchAugmenter
from thimble.data.augment.one_by_one import Augmenter
from thimble.data.dataset import ImageDataset
from thimble.system.seeds import derive_seed

_MIRRORED = 2**31
"""The second part of the seed for alternating flips. No epoch, which is the second part elsewhere, is as large."""


class EpochBatches(Dataset[tuple[Tensor, Tensor]]):
    """The batches of one epoch, made on demand: item k is this process's k-th batch.

    If the images do not fill the last batch, it is dropped. The images are shuffled anew each epoch, so each epoch
    drops different ones.

    Args:
        dataset: the training images, on the device on which they are augmented.
        augmenter: augments each batch; None leaves the images as they are.
        batch_size: images in one step, over all processes together.
        seed, epoch: determine the order of the images and their augmentation.
        rank, world_size: this process's number, and the number of processes; each takes every world_size-th image of
            a batch.
        pool: the indices, int64, of the images to draw from; all by default.
        alternating: whether to mirror each image in every second epoch. A random half begins mirrored. Two epochs then
            show both sides of every image, where chance shows a half of them one side twice: K. Jordan, "94% on
            CIFAR-10 in 3.29 Seconds on a Single GPU" (2024, arXiv:2404.00498).
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
        alternating: bool = False,
    ) -> None:
        self.dataset, self.augmenter, self.batch_size = dataset, augmenter, batch_size
        self.seed, self.epoch, self.rank, self.world_size = seed, epoch, rank, world_size
        generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
        order = torch.randperm(len(dataset) if pool is None else len(pool), generator=generator)
        order = order.to(dataset.images.device)
        self.order = order if pool is None else pool.to(order.device)[order]
        self.mirrored: Tensor | None = None
        if alternating:
            generator = torch.Generator().manual_seed(derive_seed(seed, _MIRRORED))
            begins = torch.randint(2, (len(dataset),), generator=generator)
            self.mirrored = ((begins + epoch) % 2 == 1).to(order.device)

    def __len__(self) -> int:
        return len(self.order) // self.batch_size

    def indices(self, batch: int) -> Tensor:
        """The indices of this process's images in a batch, int64 (n,)."""
        return self.order[batch * self.batch_size : (batch + 1) * self.batch_size][self.rank :: self.world_size]

    def __getitem__(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return images, uint8 (n, channels, height, width) in channels-last memory, and labels, int64 (n,)."""
        chosen = self.indices(batch)
        images, labels = self.dataset.images[chosen], self.dataset.labels[chosen]
        if self.mirrored is not None:
            images = torch.where(self.mirrored[chosen].view(-1, 1, 1, 1), images.flip(3), images)
        if self.augmenter is None:
            return images, labels
        return self.augmenter.augment(images, derive_seed(self.seed, self.epoch, batch, self.rank)), labels

    def loader(self, first_batch: int, workers: int, pin_memory: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches from ``first_batch`` on, in order, prepared by ``workers`` processes (0: by this one)."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(first_batch, len(self)),
            num_workers=workers,
            pin_memory=pin_memory,
            worker_init_fn=_leave_signals_to_the_parent,
            # Without its own generator, a DataLoader draws from the global one and would change the dropout masks.
            generator=torch.Generator().manual_seed(0),
        )


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ignore signals in a worker: a terminal sends Ctrl-C to workers too, but the parent still finishes its step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale float images (N, channels, height, width) to ``size``, (height, width), with antialiasing."""
    if images.shape[2:] == size:
        return images
    smaller = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
    return smaller.contiguous(memory_format=torch.channels_last)


class AtSize(nn.Module):
    """A network behind ``resize``: it sees all images at one size, (height, width)."""

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.name = getattr(network, "name", type(network).__name__)

    def forward(self, images: Tensor) -> Tensor:
        """Map float images (N, channels, h, w) to the network's outputs for them at ``size``."""
        outputs: Tensor = self.network(resize(images, self.size))
        return outputs
