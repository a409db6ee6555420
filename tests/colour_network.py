"""A network that tells red, green and blue, and images for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thimble.data.dataset import ImageDataset

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)


COLOURS = ("red", "green", "blue")


def plain(*channels: int) -> Tensor:
    """8x8 images of one pure colour each: 0 red, 1 green, 2 blue."""
    images = torch.zeros(len(channels), 3, 8, 8, dtype=torch.uint8)
    images[range(len(channels)), list(channels)] = 255
    return images


def dataset(images: Tensor, labels: list[int], classes: tuple[str, ...] = COLOURS) -> ImageDataset:
    return ImageDataset("plain", images, torch.tensor(labels, dtype=torch.int64), classes, MEAN, STD)


def mixed_network() -> nn.Sequential:
    """Sensitive to where a pixel is, to the mode (BatchNorm, dropout), and to the batch if it were in train mode."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 5, 6), nn.Flatten()
    )


def random_images(count: int) -> Tensor:
    return torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def one_by_one(model: nn.Module, images: Tensor) -> np.ndarray[Any, Any]:
    """The logits the slow way: an image at a time, normalised by numpy."""
    model.eval()
    rows = []
    for image in images.numpy():
        pixels = (image / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
        rows.append(model(torch.tensor(pixels[None], dtype=torch.float32)).detach().numpy()[0])
    return np.stack(rows)
