"""Augment images one by one with Albumentations."""

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
    """Flips, moves, recolours and covers images one by one.

    Args:
        config: probabilities and ranges.
        mean: the training set's mean colour, per channel in 0..1; CoarseDropout fills its rectangle with it.
    """

    def __init__(self, config: AugmentConfig, mean: tuple[float, ...]) -> None:
        self.pipeline = _compose(config, mean)

    def __call__(self, images: Images, seed: int) -> Images:
        """Augment uint8 images (N, height, width, channels); the same images and seed give the same result."""
        # Albumentations has its own random generators, which all DataLoader workers would inherit in the same state.
        # With a seed per batch, workers draw different numbers, and the result does not depend on how many there are.
        self.pipeline.set_random_seed(seed)
        # This gives the generators of all transforms the same state. The three changes of colour would then always
        # draw the same numbers, and so would the two flips. (The other transforms draw different amounts of numbers,
        # and soon differ.)
        transforms = self.pipeline.transforms
        for number, transform in enumerate([*transforms[_COLORS], *transforms[_DOWN]], start=1):
            transform.set_random_seed(derive_seed(seed, number))
        return np.stack([self.pipeline(image=image)["image"] for image in images]).reshape(images.shape)

    def augment(self, images: Tensor, seed: int) -> Tensor:
        """Augment a uint8 tensor (N, channels, height, width) on the CPU; the result is in channels-last memory."""
        augmented = self(images.permute(0, 2, 3, 1).contiguous().numpy(), seed)
        return torch.from_numpy(augmented).permute(0, 3, 1, 2)


_COLORS = slice(2, 5)
"""The place of the three changes of colour in the pipeline."""
_DOWN = slice(7, 8)
"""The place of the vertical flip, if there is one: at the end, as the other transforms have no upper side."""
_NO_JITTER = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": (0.0, 0.0)}


def _compose(config: AugmentConfig, mean: tuple[float, ...]) -> Any:
    """Build the Albumentations pipeline. Imported here, because importing takes a second, and few verbs need it."""
    # Without this, Albumentations asks a server for its newest version when it is imported.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A
    import cv2

    # OpenCV's threads cost more time than they save on 32x32 images, and compete with PyTorch's for the cores.
    cv2.setNumThreads(0)
    color = (1 - config.color_limit, 1 + config.color_limit)
    across, down = config.flip_probabilities
    with warnings.catch_warnings():
        # It recommends Affine, whose distributions differ from those of ShiftScaleRotate, which the recipe uses.
        warnings.filterwarnings("ignore", message="ShiftScaleRotate is a special case of Affine")
        # Other warnings matter: 2.0.8 only warns about an unknown argument and ignores it.
        return A.Compose(
            [
                A.HorizontalFlip(p=across),
                A.ShiftScaleRotate(
                    shift_limit=config.shift_limit,
                    scale_limit=config.scale_limit,
                    rotate_limit=config.rotate_limit_degrees,
                    border_mode=cv2.BORDER_REFLECT_101,
                    # Bilinear interpolation would blur most training images, while the test images are sharp.
                    interpolation=cv2.INTER_NEAREST,
                    p=config.affine_probability,
                ),
                *(
                    A.ColorJitter(**{**_NO_JITTER, change: color}, p=config.color_probability)
                    for change in ("brightness", "contrast", "saturation")
                ),
                A.Sharpen(
                    alpha=(0.0, config.sharpen_limit),
                    lightness=(1.0, 1.0),  # the kernel's sum: uniform areas do not change
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
                *([A.VerticalFlip(p=down)] if down else []),
            ]
        )
