"""Every setting, declared once: its default, its unit, its help on the command line and its check.

The dataclasses are the command line (tyro reads them) and the ``config.json`` of a run (``run_folder``). The recipes
at the end are functions that fill them in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints


class UserError(Exception):
    """A mistake of the user's: what was found, what was expected and what to do, in one line. Exit code 2."""


class RunError(Exception):
    """A run that cannot go on, through no mistake of the user's, in one line. Exit code 1."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended a run before its end; its state is saved. Exit code 130."""


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

    cutout_probability: float = 0.25
    """Probability of CoarseDropout, 0..1: one rectangle filled with the mean colour of the training set."""

    cutout_size: tuple[float, float] = (0.125, 0.25)
    """Smallest and largest side of that rectangle, as fractions of the image's side, in 0..1."""

    augmenter: Literal["albumentations", "batched"] = "albumentations"
    """Who does it: Albumentations, image by image on the CPU; or tensor operations on a whole batch, on the training
    device. Both draw from the same distributions."""

    def __post_init__(self) -> None:
        _require_choice(self, "augmenter")
        for name in ("flip_probability", "affine_probability", "cutout_probability"):
            _require(self, name, 0.0 <= getattr(self, name) <= 1.0, "a probability from 0 to 1")
        for name in ("shift_limit", "scale_limit"):
            _require(self, name, 0.0 <= getattr(self, name) < 1.0, "a fraction from 0 to less than 1")
        _require(self, "rotate_limit_degrees", 0.0 <= self.rotate_limit_degrees <= 180.0, "degrees from 0 to 180")
        smallest, largest = self.cutout_size
        _require(self, "cutout_size", 0.0 < smallest <= largest < 1.0, "two growing fractions above 0, below 1")


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The defaults are the recipe ``reference``; ``RECIPES`` has them all."""

    model: str = "reference"
    """The architecture to train; `thimble.list_models()` names them."""

    data: Literal["cifar10", "shapes10"] = "cifar10"
    """What to train on: CIFAR-10, or the built-in drawings that need no file."""

    data_dir: Path | None = None
    """Folder that holds (or will hold) `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache."""

    fallback: bool = False
    """Where CIFAR-10 is neither on disk nor to be fetched, say so and train on shapes10 instead of stopping."""

    validation: int = 5000
    """Training images set aside for validation, the same in every run; 0 trains on all of them."""

    train_images: int | None = None
    """Use only so many training images (None: all that validation leaves). For quick trials."""

    epochs: int = 24
    """Passes over the training images."""

    batch_size: int = 128
    """Images in one optimizer step, over all processes together."""

    image_sizes: tuple[int, ...] = ()
    """Sides in pixels to which training images are scaled, one after another, each for an equal part of the epochs.
    Small ones first save arithmetic; the last should be the data's own. Default: the data's own throughout."""

    skip_easy: float = 0.0
    """Share of the training images, from 0 to less than 1, that each epoch after the first quarter leaves out: those
    whose loss was lowest when they were last seen."""

    optimizer: Literal["sgd", "muon"] = "sgd"
    """What moves the weights: Nesterov SGD; or Muon for the convolutions between input and head, SGD for the rest."""

    learning_rate: float = 0.2
    """Peak learning rate of SGD in the one-cycle schedule."""

    muon_learning_rate: float = 0.05
    """Peak learning rate of Muon in the same schedule: the step as a share of a convolution's norm. SGD has none."""

    muon_momentum: float = 0.9
    """Nesterov momentum of Muon, from 0 to less than 1."""

    warmup_fraction: float = 0.2
    """Part of all steps in which the learning rate rises to its peak, 0..1; it falls to zero in the rest."""

    momentum: float = 0.9
    """Nesterov momentum of SGD, from 0 to less than 1."""

    weight_decay: float = 5e-4
    """L2 decay of the weights of convolutions; biases and norms have none."""

    label_smoothing: float = 0.1
    """Share of the target probability spread over all classes, from 0 to less than 1."""

    dropout: float = 0.0
    """Dropout probability inside the network, from 0 to less than 1."""

    ema_decay: float = 0.99
    """Decay per step of the moving average of the weights, from 0 (none) to less than 1. The average is what is
    validated, tested and saved."""

    clip_norm: float | None = None
    """Clip the gradient to this L2 norm (None: never)."""

    whiten: bool = False
    """Begin with a first convolution that takes the principal components of small patches of the training images."""

    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """The augmentation of the training images."""

    seed: int = 0
    """Seed of the initial weights, the order of the images, the augmentation and dropout."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train: a GPU if there is one, else the CPU. Several processes: start with torchrun."""

    precision: Literal["float32", "bf16", "auto"] = "float32"
    """Arithmetic of the network: float32, or bfloat16 with float32 weights; auto is bf16 where the processor has
    instructions for it, else float32."""

    compile: bool = False
    """Compile the network with torch.compile. It takes up to a minute and a C++ compiler, and pays in long runs."""

    workers: int | None = None
    """Processes that augment ahead. Default: 0 on the CPU, whose cores are busy training; up to 8 beside a GPU."""

    name: str | None = None
    """Name of the run's folder in `runs`. Default: model, data and the time of its start."""

    runs: Path = Path("runs")
    """Folder in which each run gets a folder."""

    overwrite: bool = False
    """Start afresh in a run folder that exists, losing what is in it."""

    def __post_init__(self) -> None:
        for name in ("data_dir", "runs"):  # plain strings, as Python users give them
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))
        for name in ("data", "device", "precision", "optimizer"):
            _require_choice(self, name)
        for name, least in (("epochs", 1), ("batch_size", 1), ("validation", 0), ("seed", 0)):
            value = getattr(self, name)
            _require(self, name, isinstance(value, int) and value >= least, f"a whole number of at least {least}")
        for name, least in (("workers", 0), ("train_images", 1)):
            value = getattr(self, name)
            holds = value is None or (isinstance(value, int) and value >= least)
            _require(self, name, holds, f"a whole number of at least {least}")
        for name in ("momentum", "muon_momentum", "label_smoothing", "dropout", "ema_decay", "skip_easy"):
            _require(self, name, 0.0 <= getattr(self, name) < 1.0, "a number from 0 to less than 1")
        _require(self, "warmup_fraction", 0.0 <= self.warmup_fraction <= 1.0, "a fraction from 0 to 1")
        for name in ("learning_rate", "muon_learning_rate"):
            _require(self, name, 0.0 < getattr(self, name) < math.inf, "a number above 0")
        sides = all(isinstance(size, int) and size >= 8 for size in self.image_sizes)
        _require(self, "image_sizes", sides, "whole numbers of at least 8 pixels")
        _require(self, "weight_decay", 0.0 <= self.weight_decay < math.inf, "a number of at least 0")
        _require(self, "clip_norm", self.clip_norm is None or self.clip_norm > 0, "a number above 0")
        plain = self.name is None or (self.name not in ("", ".", "..") and Path(self.name).name == self.name)
        _require(self, "name", plain, "a plain folder name; --runs says where it goes")
        if self.batch_size == 1:
            raise UserError("--batch-size 1 cannot train BatchNorm: expected at least 2")


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
    return TrainConfig(
        validation=0,
        epochs=8,
        image_sizes=(16, 16, 16, 20, 24, 28, 32, 32),
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


Recipe = Literal["reference", "fast"]
RECIPES: dict[Recipe, Callable[[], TrainConfig]] = {"reference": reference, "fast": fast}
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


def _require_choice(config: Any, name: str) -> None:
    choices = get_args(get_type_hints(type(config))[name])
    _require(config, name, getattr(config, name) in choices, f"one of {', '.join(choices)}")


def _require(config: Any, name: str, holds: bool, expected: str) -> None:
    if not holds:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} {getattr(config, name)}: expected {expected}")
