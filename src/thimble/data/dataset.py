"""A set of labelled images in memory: one uint8 tensor, its labels and its constants; how to split and normalise it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thimble.config import UserError

# Fixed, and not the run's seed: validation scores of runs with different seeds are of the same images.
_SPLIT_SEED = 20_090_408


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images, whole in memory, so that a batch is one indexing operation on any device.

    Attributes:
        name: "cifar10" or "shapes10".
        images: uint8 (N, 3, height, width), red, green, blue, 0..255.
        labels: int64 (N,), indices into ``classes``.
        classes: the class names, in the order of the logits.
        mean: per channel of the whole training set, for pixels in 0..1.
        std: per channel of the whole training set, over all its pixels, for pixels in 0..1.
        numbers: int64 (N,), of a subset: where each image stands in the whole dataset. None: it is the whole.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    numbers: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise ValueError(f"images are {self.images.dtype} {tuple(self.images.shape)}: expected uint8 (N, 3, H, W)")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            found = f"{self.labels.dtype} {tuple(self.labels.shape)}"
            raise ValueError(f"labels are {found}: expected int64 ({len(self.images)},)")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def subset(self, indices: Tensor) -> ImageDataset:
        """The images that ``indices`` (int64 (M,), or bool (N,)) name, in that order; the constants stay the same."""
        numbers = torch.arange(len(self)) if self.numbers is None else self.numbers
        kept = numbers[indices.to(numbers.device)]
        return dataclasses.replace(self, images=self.images[indices], labels=self.labels[indices], numbers=kept)


def split(dataset: ImageDataset, validation: int) -> tuple[ImageDataset, ImageDataset | None]:
    """Set images aside for validation: the same ones in every run, each class in proportion.

    A smaller validation set of the same dataset is part of a larger one where the classes have the same size and both
    sizes are multiples of the number of classes. Within both parts the images keep their order.

    Args:
        dataset: what to split.
        validation: the number of images to set aside; 0 sets none aside.

    Returns:
        the rest to train on, and the validation set, or None where ``validation`` is 0.

    Raises:
        UserError: ``validation`` is negative, or leaves nothing to train on.
    """
    if validation == 0:
        return dataset, None
    if not 0 < validation < len(dataset):
        raise UserError(
            f"--validation {validation}: expected 0 to {len(dataset) - 1}, as {dataset.name} has {len(dataset):,} "
            "images and at least one is needed to train on"
        )
    labels = dataset.labels.cpu().numpy()
    sizes = np.bincount(labels)
    exact = sizes * validation / len(labels)
    quotas = np.floor(exact).astype(np.int64)
    # What rounding down left over goes to the largest remainders, first class first.
    quotas[np.argsort(quotas - exact, kind="stable")[: validation - quotas.sum()]] += 1
    # RandomState's stream is frozen by NumPy's compatibility policy (NEP 19); neither default_rng's nor torch's is.
    random = np.random.RandomState(_SPLIT_SEED)
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas):
        chosen[random.permutation(np.flatnonzero(labels == label))[:quota]] = True
    mask = torch.from_numpy(chosen)
    return dataset.subset(~mask), dataset.subset(mask)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What a network takes: ``(pixel / 255 - mean) / std``.

    Args:
        images: uint8 (N, 3, height, width), 0..255, on any device and in any memory format, which the result keeps.
        mean: per channel, for pixels in 0..1.
        std: per channel, for pixels in 0..1, above 0.

    Returns:
        a new float32 tensor of the same shape, on the same device.
    """
    # As one multiplication and one addition per pixel. Non-blocking, so that a GPU's queue is not drained every step.
    scale = torch.tensor([1.0 / (255.0 * s) for s in std], dtype=torch.float32).view(1, -1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float32).view(1, -1, 1, 1)
    device = images.device
    result = images.to(torch.float32).mul_(scale.to(device, non_blocking=True))
    return result.add_(shift.to(device, non_blocking=True))
