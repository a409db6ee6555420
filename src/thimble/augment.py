"""The augmentation of training images, by Albumentations behind a thin adapter, and the batches made with it.

Whatever is random here follows from (seed, epoch, step, process) alone: the batches of a run are the same for any
number of workers, and a run that resumes in mid-epoch sees the very images it would have seen.
"""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .config import AugmentConfig, UserError
from .data import ImageDataset
from .runtime import derive_seed

if TYPE_CHECKING:
    from PIL.Image import Image

Images = NDArray[np.uint8]


class Augmenter:
    """Flips, moves and covers images one by one.

    Args:
        config: probabilities and ranges.
        mean: the training set's mean colour, per channel in 0..1, with which CoarseDropout fills its rectangle.
    """

    def __init__(self, config: AugmentConfig, mean: tuple[float, float, float]) -> None:
        self.pipeline = _compose(config, mean)

    def __call__(self, images: Images, seed: int) -> Images:
        """Augment uint8 images (N, height, width, 3); the same images and seed give the same result."""
        # Albumentations draws from generators of its own, which every DataLoader worker would inherit in the same
        # state. Seeding them for each batch keeps workers apart and makes their number irrelevant.
        self.pipeline.set_random_seed(seed)
        return np.stack([self.pipeline(image=image)["image"] for image in images])


def _compose(config: AugmentConfig, mean: tuple[float, float, float]) -> Any:
    """The Albumentations pipeline. Imported here: it takes a second, and most verbs do without it."""
    # Albumentations asks a server for its newest version when it is imported, unless this is set.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A
    import cv2

    # Threads of OpenCV's own cost more than a 32x32 image is worth, and fight with PyTorch's over the cores.
    cv2.setNumThreads(0)
    with warnings.catch_warnings():
        # It recommends Affine, which draws other distributions than the published recipe's ShiftScaleRotate.
        warnings.filterwarnings("ignore", message="ShiftScaleRotate is a special case of Affine")
        # Any other warning is ours to heed: an argument that 2.0.8 does not know is ignored with a mere warning.
        return A.Compose(
            [
                A.HorizontalFlip(p=config.flip_probability),
                A.ShiftScaleRotate(
                    shift_limit=config.shift_limit,
                    scale_limit=config.scale_limit,
                    rotate_limit=config.rotate_limit_degrees,
                    border_mode=cv2.BORDER_REFLECT_101,
                    # Bilinear would blur most training images, and the test images are sharp.
                    interpolation=cv2.INTER_NEAREST,
                    p=config.affine_probability,
                ),
                A.CoarseDropout(
                    num_holes_range=(1, 1),
                    hole_height_range=config.cutout_size,
                    hole_width_range=config.cutout_size,
                    fill=tuple(round(255 * channel) for channel in mean),
                    p=config.cutout_probability,
                ),
            ]
        )


class EpochBatches(Dataset[tuple[Tensor, Tensor]]):
    """The batches of one epoch, made when they are asked for: item k is the k-th batch of this process.

    Args:
        dataset: the training images.
        augmenter: what is done to them.
        batch_size: images in a step of all processes together.
        seed, epoch: what the order and the augmentation follow from.
        rank, world_size: this process among all; each takes every world_size-th image of a batch.

    The last images of the order that fill no whole batch are left out, others in every epoch.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        augmenter: Augmenter,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset, self.augmenter, self.batch_size = dataset, augmenter, batch_size
        self.seed, self.epoch, self.rank, self.world_size = seed, epoch, rank, world_size
        generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
        self.order = torch.randperm(len(dataset), generator=generator)

    def __len__(self) -> int:
        return len(self.dataset) // self.batch_size

    def __getitem__(self, batch: int) -> tuple[Tensor, Tensor]:
        """Images (n, 3, height, width), uint8 in channels-last memory, and labels (n,), int64."""
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size][self.rank :: self.world_size]
        images = self.dataset.images[chosen].permute(0, 2, 3, 1).contiguous().numpy()
        augmented = self.augmenter(images, derive_seed(self.seed, self.epoch, batch, self.rank))
        return torch.from_numpy(augmented).permute(0, 3, 1, 2), self.dataset.labels[chosen]

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


def preview(dataset: ImageDataset, config: AugmentConfig, *, seed: int = 0, columns: int = 9, scale: int = 3) -> Image:
    """Draw one image of each class, at the left, beside augmentations of it, with the class names in a margin."""
    from PIL import Image, ImageDraw, ImageFont

    augmenter = Augmenter(config, dataset.mean)
    side, gap, margin, header = dataset.images.shape[-1] * scale, 6, 110, 40
    cell = side + gap
    size = (margin + (columns + 1) * cell + 3 * gap, header + len(dataset.classes) * cell + gap)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    first, second = margin, margin + cell + 2 * gap
    draw.text((first + side / 2, header / 2), "original", fill="black", font=font, anchor="mm")
    draw.text((second, header / 2), "what the network sees", fill="black", font=font, anchor="lm")
    for row, class_name in enumerate(dataset.classes):
        top = header + row * cell
        draw.text((margin - 2 * gap, top + side / 2), class_name, fill="black", font=font, anchor="rm")
        members = (dataset.labels == row).nonzero().flatten()
        if len(members) == 0:
            continue
        original = dataset.images[members[seed % len(members)]].permute(1, 2, 0).numpy()
        views = augmenter(np.stack([original] * columns), derive_seed(seed, row))
        for column, pixels in enumerate([original, *views]):
            left = first if column == 0 else second + (column - 1) * cell
            tile = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            page.paste(tile, (left, top))
    return page


def save_preview(dataset: ImageDataset, config: AugmentConfig, path: Path, *, seed: int = 0) -> None:
    """Write ``preview`` as an image file, in the format that the name's ending says.

    Raises:
        UserError: the ending names no image format, or the file cannot be written.
    """
    try:
        preview(dataset, config, seed=seed).save(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the preview {path}: {error}; expected a name such as preview.png") from error
