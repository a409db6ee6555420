"""Draw a picture that shows the augmentation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from thimble.data.dataset import ImageDataset
from thimble.data.pixels import to_picture
from thimble.system.names import shortened
from thimble.system.seeds import derive_seed

from .augmenter import build_augmenter
from .mirroring import decided
from .settings import AugmentConfig

if TYPE_CHECKING:
    from PIL.Image import Image

_TILE = 96
"""The longer side of a drawn image, in pixels, at most: larger images are shrunk, others enlarged by a whole factor."""
_MOST_CLASSES = 20


def preview(
    dataset: ImageDataset, config: AugmentConfig, *, seed: int = 0, columns: int = 9, scale: float | None = None
) -> Image:
    """Draw a row for each of the first 20 classes: its name, one of its images, and augmentations of this image.

    Args:
        dataset: the images, of one channel or three.
        config: the augmentation.
        seed: chooses the images and seeds the augmentation.
        columns: augmentations in a row.
        scale: drawn pixels for each pixel of a side. Default: so that the longer side takes at most 96.
    """
    from PIL import Image, ImageDraw, ImageFont

    config = decided(config, dataset)
    if config.flip == "alternating":  # no chance in training; here, where there are no epochs, half of the views
        config = dataclasses.replace(config, flip="horizontal")
    augmenter = build_augmenter(config, dataset.mean)
    sides = dataset.images.shape[-2:]
    scale = scale or _TILE // max(sides) or _TILE / max(sides)
    tall, wide = (max(1, round(side * scale)) for side in sides)
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    names = dataset.classes[:_MOST_CLASSES]
    gap, margin, header = 6, 110, 40
    size = (margin + (columns + 1) * (wide + gap) + 3 * gap, header + len(names) * (tall + gap) + gap)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    first, second = margin, margin + wide + 3 * gap
    draw.text((first + wide / 2, header / 2), "original", fill="black", font=font, anchor="mm")
    draw.text((second, header / 2), "what the network sees", fill="black", font=font, anchor="lm")
    for row, class_name in enumerate(names):
        top = header + row * (tall + gap)
        draw.text((margin - 2 * gap, top + tall / 2), shortened(class_name, 12), fill="black", font=font, anchor="rm")
        members = (dataset.labels == row).nonzero().flatten()
        if len(members) == 0:
            continue
        original = dataset.images[members[seed % len(members)]].unsqueeze(0)
        views = augmenter.augment(original.expand(columns, -1, -1, -1), derive_seed(seed, row))
        for column, pixels in enumerate(torch.cat([original, views])):
            left = first if column == 0 else second + (column - 1) * (wide + gap)
            tile = to_picture(pixels).convert("RGB").resize((wide, tall), method)
            page.paste(tile, (left, top))
    return page
