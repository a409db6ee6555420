"""A set of labelled images in memory: one uint8 tensor, its labels and its constants; how to normalise it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images, whole in memory, so that a batch is one indexing operation on any device.

    Attributes:
        name: what reports and results call it, such as "cifar10".
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

    def checksum(self) -> str:
        """The SHA-256 of the labels and the pixels, in hexadecimal digits."""
        digest = hashlib.sha256(self.labels.cpu().numpy().tobytes())
        digest.update(self.images.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> ImageDataset:
        """The images that ``indices`` (int64 (M,), or bool (N,)) name, in that order; the constants stay the same."""
        numbers = torch.arange(len(self)) if self.numbers is None else self.numbers
        kept = numbers[indices.to(numbers.device)]
        return dataclasses.replace(self, images=self.images[indices], labels=self.labels[indices], numbers=kept)


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
