"""Hold labelled images as one uint8 tensor, in memory or mapped from a file, and normalise them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thimble.errors import UserError
from thimble.system.arguments import adopted, conforms, described

from .rows import Rows, rows_of, unread

_CONSTANTS = tuple[float, ...]
_LONGEST_NAME = 100
_CHUNK = 10_000
"""Images read at a time, where all are looked at: the whole set may be larger than the memory."""


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images; one indexing operation makes a batch on any device.

    Attributes:
        name: its name in reports and results, such as "cifar10": one line of at most 100 characters.
        images: uint8 (N, channels, height, width), 0..255: red, green, blue; or one channel of grey. Images that stay
            on disk are ``Rows``, which behave like a tensor.
        labels: int64 (N,), indices into ``classes``.
        classes: the class names, all different, in the order of the logits.
        mean: per channel, over all pixels of the whole training set, for pixels in 0..1.
        std: per channel, over all pixels of the whole training set, for pixels in 0..1.
        numbers: int64 (N,), for a subset: each image's index in the whole dataset. None for a whole dataset.

    Raises:
        UserError: a part has another type, shape or range.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    numbers: Tensor | None = None

    def __post_init__(self) -> None:
        for field, hint in (("classes", tuple[str, ...]), ("mean", _CONSTANTS), ("std", _CONSTANTS)):
            object.__setattr__(self, field, adopted(getattr(self, field), hint))
        if not isinstance(self.name, str) or not self.name.isprintable() or not 1 <= len(self.name) <= _LONGEST_NAME:
            raise UserError(f"a dataset's name is {described(self.name)}: expected 1 to {_LONGEST_NAME} characters")
        images, labels, count = self.images, self.labels, len(self.classes)
        fits = isinstance(images, Tensor | Rows) and images.dtype == torch.uint8 and images.ndim == 4
        if not fits or images.shape[1] not in (1, 3):
            raise UserError(f"images of {self.name} are {_kind(images)}: expected uint8 (N, 3 or 1, height, width)")
        if 0 in images.shape[2:]:
            raise UserError(f"images of {self.name} are {_kind(images)}: expected at least one pixel")
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise UserError(f"labels of {self.name} are {_kind(labels)}: expected int64 ({len(images)},)")
        if not conforms(self.classes, tuple[str, ...]) or len(set(self.classes)) < max(count, 1):
            raise UserError(f"classes of {self.name} are {str(self.classes)[:100]}: expected names, all different")
        least, most = (int(end) for end in labels.aminmax()) if len(labels) else (0, 0)
        if least < 0 or most >= count:
            raise UserError(f"labels of {self.name} are from {least} to {most}: expected 0 to {count - 1}")
        for field, above in (("mean", -math.inf), ("std", 0.0)):
            values = getattr(self, field)
            channels = images.shape[1]
            good = conforms(values, _CONSTANTS) and len(values) == channels
            if not good or not all(above < value < math.inf for value in values):
                kind = "above 0" if field == "std" else "for pixels in 0..1"
                raise UserError(
                    f"{field} of {self.name} is {str(values)[:100]}: expected {channels} numbers {kind}, one a channel"
                )

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def checksum(self) -> str:
        """The SHA-256 of the labels and pixels, in hexadecimal digits."""
        digest = hashlib.sha256(self.labels.cpu().numpy().tobytes())
        for start in range(0, len(self), _CHUNK):
            digest.update(self.images[start : start + _CHUNK].cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> ImageDataset:
        """Select the images at ``indices`` (int64 (M,), or bool (N,)), in that order; mean and std stay the same."""
        numbers = torch.arange(len(self)) if self.numbers is None else self.numbers
        kept = numbers[indices.to(numbers.device)]
        rows = unread(self.images)
        images = self.images[indices] if rows is None else rows_of(rows.base, rows.rows[indices])
        return dataclasses.replace(self, images=images, labels=self.labels[indices], numbers=kept)


def _kind(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor | Rows) else described(value)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn pixels into a network's input: ``(pixel / 255 - mean) / std``.

    Args:
        images: uint8 (N, channels, height, width), 0..255, on any device; the result keeps their memory format.
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
