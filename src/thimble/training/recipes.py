"""Define the recipes: functions that return a configuration; each docstring has the command, cost and accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from thimble.data.augment.settings import AugmentConfig
from thimble.data.sources import is_own
from thimble.errors import UserError

from .config import TrainConfig

if TYPE_CHECKING:
    from thimble.data.sources import Data


def reference() -> TrainConfig:
    """``thimble train --recipe reference``: the reference network's own recipe, half an hour on two CPU cores.

    24 epochs over 45,000 images with Albumentations and SGD. CIFAR-10 test accuracy 87.46%, mean of 3 seeds, standard
    deviation 0.23 points, in 27 minutes (one seed at a time on two AMD EPYC cores):
    benchmarks/results/reference_cifar10.md.
    """
    return TrainConfig()


def fast() -> TrainConfig:
    """``thimble train --recipe fast``: 85% test accuracy as fast as possible.

    8 epochs over all 50,000 images with Muon; images start small, and easy ones are skipped after two epochs. CIFAR-10
    test accuracy 85.66%, mean of 5 seeds, standard deviation 0.19 points, minimum 85.46%, in 84 seconds (median; two
    AMD EPYC cores, bfloat16), 1/27 of a plain PyTorch loop's time: benchmarks/results/time_to_accuracy.md.
    docs/fast_recipe.md explains each part.
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
    """``thimble train --recipe record --model thimble-150k --bank FILE``: the highest accuracy; takes hours on a CPU.

    99 epochs over all 50,000 images with Muon, from a bank of teachers' answers (``thimble bank``). CIFAR-10 test
    accuracy of thimble-150k 94.63%, mean of 3 seeds, standard deviation 0.10 points, in 8 minutes of a GPU for all
    three (H200), by three teacher-20m: benchmarks/results/record_h200_2026-11-26.txt. Without a bank it learns from
    ``--teacher MODEL``, or from the labels alone, which nobody has measured at this length. docs/record.md has the
    results so far, and ``benchmarks/record.py`` trains all seeds of one network, in slices.
    """
    return TrainConfig.of(
        validation=0,
        epochs=99,
        batch_size=512,
        image_sizes=(0.75, 1.0, 1.0, 1.0),
        optimizer="muon",
        learning_rate=0.2,
        muon_learning_rate=0.05,
        warmup_fraction=0.1,
        momentum=0.85,
        label_smoothing=0.0,
        ema_decay=0.998,
        whiten=True,
        mix_probability=0.3125,
        mix_ramp=(0.0, 0.8),
        augment=AugmentConfig(
            affine_probability=1.0,
            shift_limit=4 / 32,
            scale_limit=0.0,
            rotate_limit_degrees=0.0,
            cutout_probability=0.5,
            cutout_size=(0.125, 0.375),
            augmenter="batched",
        ),
        precision="auto",
    )


def teacher() -> TrainConfig:
    """``thimble train --recipe teacher --model teacher-10m``: a large network as a teacher for the recipe ``record``.

    The recipe ``fast`` with five times as many epochs, larger shifts, and cutout on half of the images. No label
    smoothing, because a teacher trained with it teaches less (R. Müller et al., "When Does Label Smoothing Help?",
    2019, arXiv:1906.02629). On CPU cores, use ``--model teacher-2m --epochs 24``: 26 minutes on one core
    (docs/record.md).
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


def own() -> TrainConfig:
    """``thimble train --data PATH``: your own images, in minutes on two CPU cores.

    thimble-150k with Muon. The number of epochs, the batch size, the learning rate, dropout, the weights of the classes
    and whether to mirror images or to skip easy ones follow from the images. docs/own_images.md has what it reaches.
    """
    return TrainConfig.of(
        model="thimble-150k",
        dropout=None,
        validation=None,
        epochs=0,
        batch_size=0,
        image_sizes=(0.5, 0.625, 0.75, 0.875, 1.0, 1.0),
        optimizer="muon",
        learning_rate=None,
        muon_learning_rate=0.035,
        warmup_fraction=0.1,
        momentum=0.85,
        label_smoothing=0.1,
        class_weights="auto",
        skip_easy=None,
        ema_decay=0.99,
        augment=AugmentConfig(
            flip="auto",
            affine_probability=1.0,
            shift_limit=1 / 8,
            scale_limit=0.1,
            rotate_limit_degrees=10.0,
            cutout_probability=0.25,
            augmenter="batched",
        ),
        precision="auto",
    )


Recipe = Literal["reference", "fast", "record", "teacher", "own"]
RECIPES: dict[Recipe, Callable[[], TrainConfig]] = {
    "reference": reference,
    "fast": fast,
    "record": record,
    "teacher": teacher,
    "own": own,
}


_ADAPTING = ("cifar100", "mnist", "fashion-mnist")
"""Named datasets whose length and flips must be chosen: a mirrored 3 is no digit."""


def default_recipe(data: Data | None) -> Recipe:
    """The recipe for these data, if none is named: ``own`` for own images and others that fast was not made for."""
    adapting = data is not None and (is_own(data) or (isinstance(data, str) and data in _ADAPTING))
    return "own" if adapting else "fast"


def find_recipe(name: str) -> TrainConfig:
    """Return the settings of the recipe with this name.

    Raises:
        UserError: there is no such recipe.
    """
    for found, recipe in RECIPES.items():
        if found == name:
            return recipe()
    raise UserError(f"--recipe {name}: expected one of {', '.join(RECIPES)}")
