"""Define the settings of a bank's views."""

from __future__ import annotations

from dataclasses import dataclass, field

from thimble.data.augment.settings import AugmentConfig
from thimble.errors import UserError
from thimble.system.arguments import take

MOST_VIEWS = 100
"""Most views of each image: the random numbers for all views are kept in memory, 3 MB per view of CIFAR-10."""


def view_augmentation() -> AugmentConfig:
    """The views' default augmentation: flips, shifts up to an eighth of the side, and cutout on half of the images."""
    return AugmentConfig(
        affine_probability=1.0,
        shift_limit=0.125,
        scale_limit=0.0,
        rotate_limit_degrees=0.0,
        cutout_probability=0.5,
        cutout_size=(0.125, 0.375),
        augmenter="batched",
    )


@dataclass(frozen=True)
class ViewConfig:
    """The number of views of each image, and their augmentation."""

    views: int = 16
    """Number of views of each training image."""

    mixed_views: int = 0
    """Number of views that mix two images, by mixup or CutMix with equal probability; less than `--views`."""

    augment: AugmentConfig = field(default_factory=view_augmentation)
    """The augmentation of each image; always by the batched augmenter."""

    seed: int = 0
    """Seed of all views."""

    @property
    def mixed_share(self) -> float:
        """The fraction of the views that are mixed, 0..1."""
        return self.mixed_views / self.views

    def __post_init__(self) -> None:
        for name in ("views", "mixed_views", "seed"):  # NumPy integers are fine; a bank's file may have anything
            value = take("--" + name.replace("_", "-"), getattr(self, name), int, "a whole number")
            object.__setattr__(self, name, value)
        if not isinstance(self.augment, AugmentConfig):
            raise UserError(f"augment is of type {type(self.augment).__name__}: expected an AugmentConfig")
        if self.views < 1:
            raise UserError(f"--views {self.views}: expected at least 1")
        if self.views > MOST_VIEWS:
            raise UserError(f"--views {self.views}: expected at most {MOST_VIEWS}")
        if not 0 <= self.mixed_views < self.views:
            raise UserError(f"--mixed-views {self.mixed_views}: expected 0 to {self.views - 1}, fewer than --views")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"--seed {self.seed}: expected a whole number of at least 0")
        if self.augment.augmenter != "batched":
            raise UserError(f"--augmenter {self.augment.augmenter}: views need batched")
        if self.augment.flip == "alternating":
            raise UserError("--flip alternating: views belong to no epoch; expected auto, none, horizontal or both")
