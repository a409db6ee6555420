"""The settings of the augmentation of training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thimble.system.settings import adopt, require, require_types


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to each training image, in this order, before normalisation."""

    flip_probability: float = 0.5
    """Probability of a horizontal flip, 0..1."""

    affine_probability: float = 0.5
    """Probability of ShiftScaleRotate, 0..1. Pixels from outside are mirrored in."""

    shift_limit: float = 0.0625
    """Largest shift in either direction, as a fraction of the side: 0.0625 is 2 of 32 pixels."""

    scale_limit: float = 0.05
    """Largest change of scale: 0.1 draws factors from 0.9 to 1.1."""

    rotate_limit_degrees: float = 5.0
    """Largest rotation in either direction, in degrees."""

    color_probability: float = 0.0
    """Probability, 0..1, of each of three changes, drawn apart and done in this order: of brightness, of contrast about
    the image's mean grey, of saturation."""

    color_limit: float = 0.2
    """Largest change of each: 0.2 draws factors from 0.8 to 1.2."""

    sharpen_probability: float = 0.0
    """Probability of sharpening, 0..1: what sets a pixel apart from the mean of its 3x3 neighbourhood grows."""

    sharpen_limit: float = 0.1
    """Greatest share of nine times that difference which is added."""

    cutout_probability: float = 0.25
    """Probability of CoarseDropout, 0..1: one rectangle filled with the mean colour of the training set."""

    cutout_size: tuple[float, float] = (0.125, 0.25)
    """Smallest and largest side of that rectangle, as fractions of the image's side, in 0..1."""

    augmenter: Literal["albumentations", "batched"] = "albumentations"
    """Who does it: Albumentations, image by image on the CPU; or tensor operations on a whole batch, on the training
    device. Both draw from the same distributions."""

    def __post_init__(self) -> None:
        adopt(self)
        for transform in ("flip", "affine", "color", "sharpen", "cutout"):
            require(self, f"{transform}_probability", lambda value: 0.0 <= value <= 1.0, "a probability from 0 to 1")
        for name in ("shift_limit", "scale_limit", "color_limit", "sharpen_limit"):
            require(self, name, lambda value: 0.0 <= value < 1.0, "a fraction from 0 to less than 1")
        require(self, "rotate_limit_degrees", lambda value: 0.0 <= value <= 180.0, "degrees from 0 to 180")
        expected = "two growing fractions above 0, below 1"
        require(self, "cutout_size", lambda sides: 0.0 < sides[0] <= sides[1] < 1.0, expected)
        require_types(self)


def fill_color(mean: tuple[float, float, float]) -> tuple[int, ...]:
    """The colour, 0..255 per channel, that covers a rectangle: the training set's mean (0..1 per channel)."""
    return tuple(round(255 * channel) for channel in mean)
