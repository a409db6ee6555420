"""Hold labelled images in memory as one uint8 tensor, and normalise them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images, all in memory, so that one indexing operation makes a batch on any device.

    Attributes:
        name: its name in reports and results, such as "cifar10".
        images: uint8 (N, 3, height, width), red, green, blue, 0..255.
        labels: int64 (N,), indices into ``classes``.
        classes: the class names, in the order of the logits.
        mean: per channel, over all pixels of the whole training set, for pixels in 0..1.
        std: per channel, over all pixels of the whole training set, for pixels in 0..1.
        numbers: int64 (N,), for a subset: each image's index in the whole dataset. None for a whole dataset.
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
        """The SHA-256 of the labels and pixels, in hexadecimal digits."""
        digest = hashlib.sha256(self.labels.cpu().numpy().tobytes())
        digest.update(self.images.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> ImageDataset:
        """Select the images at ``indices`` (int64 (M,), or bool (N,)), in that order; mean and std stay the same."""
        numbers = torch.arange(len(self)) if self.numbers is None else self.numbers
        kept = numbers[indices.to(numbers.device)]
        return dataclasses.replace(self, images=self.images[indices], labels=self.labels[indices], numbers=kept)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn pixels into a network's input: ``(pixel / 255 - mean) / std``.

    Args:
        images: uint8 (N, 3, height, width), 0..255, on any device; the result keeps their memory format.
        mean: per channel, for pixels in 0..1.
        std: per channel, for pixels in 0..1, above 0.

    Returns:
        a new float32 tensor of the same shape, on the same device.
    """
    # One multiplication and one addition per pixel. Non-blocking copies, so that a GPU never waits for the CPU here.
    scale = torch.tensor([1.0 / (255.0 * s) for s in std], dtype=torch.float32).view(1, -1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float32).view(1, -1, 1, 1)
    device = images.device
    result = images.to(torch.float32).mul_(scale.to(device, non_blocking=True))
    return result.add_(shift.to(device, non_blocking=True))
