"""The recipes: functions that fill the configuration in, each with its command, its cost and what it reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from thimble.data.augment.settings import AugmentConfig
from thimble.errors import UserError

from .config import TrainConfig


def reference() -> TrainConfig:
    """``thimble train --recipe reference``: the network's own recipe, for the best of it in half an hour.

    24 epochs of 45,000 images with Albumentations and SGD. 87.46% of the test images, mean of 3 seeds, standard
    deviation 0.23 points, in 27 minutes (one seed alone on two AMD EPYC cores):
    benchmarks/results/reference_cifar10.md.
    """
    return TrainConfig()


def fast() -> TrainConfig:
    """``thimble train --recipe fast``: 85% as soon as possible.

    8 epochs of all 50,000 images, small ones first and then only the harder ones, with Muon. 85.66% of the test images,
    mean of 5 seeds, standard deviation 0.19 points, least 85.46%, in 84 seconds (median; two AMD EPYC cores, bfloat16),
    a 27th of a plain loop's time: benchmarks/results/time_to_accuracy.md. What each part is for: docs/fast_recipe.md.
    """
    return TrainConfig.of(
        validation=0,
        epochs=8,
        image_sizes=(0.5, 0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0),
        skip_easy=0.3,
        optimizer="muon",
        learning_rate=0.3,
        muon_learning_rate=0.035,
        warmup_fraction=0.1,
        momentum=0.85,
        muon_momentum=0.9,
        label_smoothing=0.05,
        ema_decay=0.0,
        whiten=True,
        augment=AugmentConfig(
            affine_probability=1.0,
            shift_limit=3 / 32,
            scale_limit=0.0,
            rotate_limit_degrees=0.0,
            cutout_probability=0.0,
            augmenter="batched",
        ),
        precision="auto",
    )


def record() -> TrainConfig:
    """``thimble train --recipe record --model thimble-150k --teacher MODEL``: the most that so few parameters can hold.

    200 epochs of all 50,000 images, with Muon, a teacher (see ``teacher``; without one, the labels alone), an average
    over 1,000 steps, strong augmentation, and batches mixed in pairs, more of them towards the end. Meant for a GPU:
    ``benchmarks/record.py`` trains all seeds of one network, in slices. docs/record.md has what it has reached so far,
    on which machine, and what each part is worth.
    """
    return TrainConfig.of(
        validation=0,
        epochs=200,
        image_sizes=(0.75, 1.0, 1.0, 1.0),
        optimizer="muon",
        learning_rate=0.3,
        muon_learning_rate=0.035,
        warmup_fraction=0.05,
        momentum=0.85,
        label_smoothing=0.1,
        ema_decay=0.999,
        whiten=True,
        mix_probability=0.5,
        mix_ramp=(0.5, 0.9),
        augment=AugmentConfig(
            affine_probability=1.0,
            shift_limit=4 / 32,
            scale_limit=0.05,
            rotate_limit_degrees=5.0,
            color_probability=0.25,
            sharpen_probability=0.1,
            cutout_probability=0.5,
            cutout_size=(0.125, 0.375),
            augmenter="batched",
        ),
        precision="auto",
    )


def teacher() -> TrainConfig:
    """``thimble train --recipe teacher --model teacher-10m``: a network that others learn from, by ``record``.

    The recipe ``fast``, five times as long and with larger shifts and a rectangle of the mean colour on half of the
    images. No label smoothing: it makes a teacher tell less of what it takes an image for (R. Müller et al., "When
    Does Label Smoothing Help?", 2019, arXiv:1906.02629). For two CPU cores there is ``--model teacher-2m
    --epochs 24``, 26 minutes on one of them (docs/record.md).
    """
    return fast().changed(
        model="teacher-10m",
        epochs=40,
        label_smoothing=0.0,
        ema_decay=0.99,
        shift_limit=4 / 32,
        cutout_probability=0.5,
        cutout_size=(0.25, 0.375),
    )


Recipe = Literal["reference", "fast", "record", "teacher"]
RECIPES: dict[Recipe, Callable[[], TrainConfig]] = {
    "reference": reference,
    "fast": fast,
    "record": record,
    "teacher": teacher,
}
DEFAULT_RECIPE: Recipe = "fast"


def find_recipe(name: str) -> TrainConfig:
    """The settings of a recipe.

    Raises:
        UserError: there is none of that name.
    """
    for found, recipe in RECIPES.items():
        if found == name:
            return recipe()
    raise UserError(f"--recipe {name}: expected one of {', '.join(RECIPES)}")
