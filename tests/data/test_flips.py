"""Which flips augmentation makes: none, horizontal ones, or vertical ones too; and how they combine."""

from __future__ import annotations

import hashlib
from typing import Literal

import pytest
import torch

from thimble.data.augment.augmenter import build_augmenter
from thimble.data.augment.batched import BatchAugmenter
from thimble.data.augment.settings import AugmentConfig

MEAN = (0.5, 0.5, 0.5)
COUNT = 2_000

Flip = Literal["auto", "none", "horizontal", "both"]
Kind = Literal["batched", "albumentations"]


def config(flip: Flip, augmenter: Kind, probability: float = 0.5) -> AugmentConfig:
    return AugmentConfig(
        flip=flip,
        flip_probability=probability,
        affine_probability=0.0,
        cutout_probability=0.0,
        augmenter=augmenter,
    )


def shares(flip: Flip, augmenter: Kind, probability: float = 0.5) -> list[float]:
    """The shares of images that are as they were, mirrored horizontally, vertically, and both."""
    image = torch.arange(4, dtype=torch.uint8).view(1, 1, 2, 2).expand(COUNT, 3, 2, 2).contiguous()
    chosen = config(flip, augmenter, probability)
    views = build_augmenter(chosen, MEAN).augment(image, 1)
    first = views[:, 0, 0, 0]  # where the corner was
    return [float((first == corner).float().mean()) for corner in (0, 1, 2, 3)]


@pytest.mark.parametrize("augmenter", ["batched", "albumentations"])
def test_the_shares_of_the_flips(augmenter: Kind) -> None:
    assert shares("none", augmenter) == [1, 0, 0, 0]
    plain, across, down, both = shares("horizontal", augmenter)
    assert (down, both) == (0, 0)
    assert plain == pytest.approx(0.5, abs=0.04)
    assert shares("auto", augmenter) == [plain, across, down, both]
    assert shares("both", augmenter) == pytest.approx([0.25] * 4, abs=0.04)
    assert shares("both", augmenter, 0.1) == pytest.approx([0.81, 0.09, 0.09, 0.01], abs=0.03)


def test_vertical_flips_change_nothing_else() -> None:
    images = torch.randint(0, 256, (200, 3, 8, 8), dtype=torch.uint8)
    horizontal, both = (
        BatchAugmenter(AugmentConfig(flip=flip, rotate_limit_degrees=0.0, augmenter="batched"), MEAN).augment(images, 3)
        for flip in ("horizontal", "both")
    )
    same = (horizontal == both).flatten(1).all(1)
    assert 60 < int(same.sum()) < 140


def test_one_by_one_vertical_flips_draw_no_number_of_the_others() -> None:
    images = torch.randint(0, 256, (200, 3, 8, 8), dtype=torch.uint8)
    colours = {"color_probability": 0.5, "sharpen_probability": 0.5}
    horizontal, both = (
        build_augmenter(AugmentConfig(flip=flip, **colours), MEAN).augment(images, 3)  # type: ignore[arg-type]
        for flip in ("horizontal", "both")
    )
    same, turned = ((view == both).flatten(1).all(1) for view in (horizontal, horizontal.flip(2)))
    assert (same | turned).all()
    assert 60 < int(turned.sum()) < 140


@pytest.mark.parametrize("flip", ["auto", "horizontal"])
def test_a_seed_gives_the_images_that_it_gave_before_there_was_a_choice(flip: Flip) -> None:
    """As at 8715dc9, which mirrored whatever ``flip`` said. Without rotations, there is nothing to round."""
    images = (torch.arange(64 * 3 * 8 * 8) * 37 % 251).to(torch.uint8).view(64, 3, 8, 8)
    before = AugmentConfig(flip=flip, rotate_limit_degrees=0.0, augmenter="batched")
    views = build_augmenter(before, MEAN).augment(images, 3).contiguous()
    assert hashlib.sha256(views.numpy().tobytes()).hexdigest()[:16] == "f1c6611d32306919"
