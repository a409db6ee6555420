"""Augmentation one image at a time with Albumentations, behind a thin adapter."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thimble.system.seeds import derive_seed

from .settings import AugmentConfig, fill_color

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
        # That gives all transforms generators of one state: the three changes of colour, which draw alike, would draw
        # the same for ever. (The others soon part ways, as some draw more numbers than others.)
        for number, transform in enumerate(self.pipeline.transforms[_COLORS], start=1):
            transform.set_random_seed(derive_seed(seed, number))
        return np.stack([self.pipeline(image=image)["image"] for image in images])

    def augment(self, images: Tensor, seed: int) -> Tensor:
        """The same for a tensor, uint8 (N, 3, height, width) on the CPU; the result is in channels-last memory."""
        augmented = self(images.permute(0, 2, 3, 1).contiguous().numpy(), seed)
        return torch.from_numpy(augmented).permute(0, 3, 1, 2)


_COLORS = slice(2, 5)
"""Where the pipeline has the three changes of colour."""
_NO_JITTER = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": (0.0, 0.0)}


def _compose(config: AugmentConfig, mean: tuple[float, float, float]) -> Any:
    """The Albumentations pipeline. Imported here: it takes a second, and most verbs do without it."""
    # Albumentations asks a server for its newest version when it is imported, unless this is set.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A
    import cv2

    # Threads of OpenCV's own cost more than a 32x32 image is worth, and fight with PyTorch's over the cores.
    cv2.setNumThreads(0)
    color = (1 - config.color_limit, 1 + config.color_limit)
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
                *(
                    A.ColorJitter(**{**_NO_JITTER, change: color}, p=config.color_probability)
                    for change in ("brightness", "contrast", "saturation")
                ),
                A.Sharpen(
                    alpha=(0.0, config.sharpen_limit),
                    lightness=(1.0, 1.0),  # the kernel's sum: flat places stay as they are
                    method="kernel",
                    p=config.sharpen_probability,
                ),
                A.CoarseDropout(
                    num_holes_range=(1, 1),
                    hole_height_range=config.cutout_size,
                    hole_width_range=config.cutout_size,
                    fill=fill_color(mean),
                    p=config.cutout_probability,
                ),
            ]
        )
