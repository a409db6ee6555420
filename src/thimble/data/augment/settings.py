"""Define the settings of the augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thimble.system.settings import adopt, later, require, require_types


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of each training image, in this order, before normalisation."""

    flip_probability: float = 0.5
    """Probability of each flip, 0..1."""

    affine_probability: float = 0.5
    """Probability of ShiftScaleRotate, 0..1. Mirrored pixels fill the edges."""

    shift_limit: float = 0.0625
    """Maximum shift in either direction, as a fraction of the side: 0.0625 is 2 of 32 pixels."""

    scale_limit: float = 0.05
    """Maximum change of scale: 0.1 draws factors from 0.9 to 1.1."""

    rotate_limit_degrees: float = 5.0
    """Maximum rotation in either direction, in degrees."""

    color_probability: float = 0.0
    """Probability of each change, 0..1: brightness, contrast about the mean grey, saturation. Drawn independently."""

    color_limit: float = 0.2
    """Maximum change of brightness, contrast and saturation: 0.2 draws factors from 0.8 to 1.2."""

    sharpen_probability: float = 0.0
    """Probability of sharpening, 0..1."""

    sharpen_limit: float = 0.1
    """Maximum sharpening strength, 0 to 1. The strength is drawn uniformly from 0 to this maximum."""

    cutout_probability: float = 0.25
    """Probability of CoarseDropout, 0..1: one rectangle filled with the training set's mean colour."""

    cutout_size: tuple[float, float] = (0.125, 0.25)
    """Minimum and maximum side of that rectangle, as fractions of the image's side, 0..1."""

    augmenter: Literal["albumentations", "batched"] = "albumentations"
    """albumentations: image by image on the CPU; batched: on the training device. Both use the same distributions."""

    flip: Literal["auto", "none", "horizontal", "both", "alternating"] = later("horizontal", before="horizontal")
    """Mirror images: horizontally, or vertically too (both), by chance; or each in every second epoch (alternating,
    horizontally). auto: horizontally, unless the classes forbid it."""

    def __post_init__(self) -> None:
        adopt(self)
        for transform in ("flip", "affine", "color", "sharpen", "cutout"):
            require(self, f"{transform}_probability", lambda value: 0.0 <= value <= 1.0, "a probability from 0 to 1")
        for name in ("shift_limit", "scale_limit", "color_limit", "sharpen_limit"):
            require(self, name, lambda value: 0.0 <= value < 1.0, "a fraction from 0 to less than 1")
        require(self, "rotate_limit_degrees", lambda value: 0.0 <= value <= 180.0, "degrees from 0 to 180")
        expected = "two fractions above 0 and below 1, the smaller first"
        require(self, "cutout_size", lambda sides: 0.0 < sides[0] <= sides[1] < 1.0, expected)
        require_types(self)

    @property
    def flip_probabilities(self) -> tuple[float, float]:
        """The probabilities of a horizontal and of a vertical flip. Until ``auto`` is decided, it means horizontal.

        Alternating flips are left to the batches, which know the epoch: no chance decides them.
        """
        horizontal = 0.0 if self.flip in ("none", "alternating") else self.flip_probability
        return horizontal, self.flip_probability if self.flip == "both" else 0.0


def fill_color(mean: tuple[float, ...]) -> tuple[int, ...]:
    """Convert the training set's mean (0..1 per channel) to the colour of a rectangle (0..255 per channel)."""
    return tuple(round(255 * channel) for channel in mean)
