"""Draw a picture that shows the augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thimble.data.dataset import ImageDataset
from thimble.data.pixels import to_picture
from thimble.system.names import shortened
from thimble.system.seeds import derive_seed

from .settings import AugmentConfig

if TYPE_CHECKING:
    from PIL.Image import Image
from .augmenter import build_augmenter


def preview(dataset: ImageDataset, config: AugmentConfig, *, seed: int = 0, columns: int = 9, scale: int = 3) -> Image:
    """Draw a row for each class: its name, one of its images, and ``columns`` augmentations of this image."""
    from PIL import Image, ImageDraw, ImageFont

    augmenter = build_augmenter(config, dataset.mean)
    tall, wide = (side * scale for side in dataset.images.shape[-2:])
    gap, margin, header = 6, 110, 40
    size = (margin + (columns + 1) * (wide + gap) + 3 * gap, header + len(dataset.classes) * (tall + gap) + gap)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    first, second = margin, margin + wide + 3 * gap
    draw.text((first + wide / 2, header / 2), "original", fill="black", font=font, anchor="mm")
    draw.text((second, header / 2), "what the network sees", fill="black", font=font, anchor="lm")
    for row, class_name in enumerate(dataset.classes):
        top = header + row * (tall + gap)
        draw.text((margin - 2 * gap, top + tall / 2), shortened(class_name, 12), fill="black", font=font, anchor="rm")
        members = (dataset.labels == row).nonzero().flatten()
        if len(members) == 0:
            continue
        original = dataset.images[members[seed % len(members)]].unsqueeze(0)
        views = augmenter.augment(original.expand(columns, -1, -1, -1), derive_seed(seed, row))
        for column, pixels in enumerate(torch.cat([original, views])):
            left = first if column == 0 else second + (column - 1) * (wide + gap)
            tile = to_picture(pixels).convert("RGB").resize((wide, tall), Image.Resampling.NEAREST)
            page.paste(tile, (left, top))
    return page
