"""Every setting, declared once: its default, its unit, its help on the command line and its check.

The dataclasses are the command line (tyro reads them) and the ``config.json`` of a run (``to_dict``, ``from_dict``).
"""

from __future__ import annotations

import dataclasses
import math
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
    """What Albumentations does to each training image, in this order, before normalisation."""

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

    def __post_init__(self) -> None:
        for name in ("flip_probability", "affine_probability", "cutout_probability"):
            _require(self, name, 0.0 <= getattr(self, name) <= 1.0, "a probability from 0 to 1")
        for name in ("shift_limit", "scale_limit"):
            _require(self, name, 0.0 <= getattr(self, name) < 1.0, "a fraction from 0 to less than 1")
        _require(self, "rotate_limit_degrees", 0.0 <= self.rotate_limit_degrees <= 180.0, "degrees from 0 to 180")
        smallest, largest = self.cutout_size
        _require(self, "cutout_size", 0.0 < smallest <= largest < 1.0, "two growing fractions above 0, below 1")


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The defaults are the reference recipe: see docs/reference/ for what it reaches and costs."""

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

    learning_rate: float = 0.2
    """Peak learning rate of the one-cycle schedule."""

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

    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """The augmentation of the training images."""

    seed: int = 0
    """Seed of the initial weights, the order of the images, the augmentation and dropout."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train: a GPU if there is one, else the CPU. Several processes: start with torchrun."""

    precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of the network: float32, or bfloat16 with float32 weights."""

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
        hints = get_type_hints(TrainConfig)
        for name in ("data", "device", "precision"):
            choices = get_args(hints[name])
            _require(self, name, getattr(self, name) in choices, f"one of {', '.join(choices)}")
        for name, least in (("epochs", 1), ("batch_size", 1), ("validation", 0), ("seed", 0)):
            value = getattr(self, name)
            _require(self, name, isinstance(value, int) and value >= least, f"a whole number of at least {least}")
        for name, least in (("workers", 0), ("train_images", 1)):
            value = getattr(self, name)
            holds = value is None or (isinstance(value, int) and value >= least)
            _require(self, name, holds, f"a whole number of at least {least}")
        for name in ("momentum", "label_smoothing", "dropout", "ema_decay"):
            _require(self, name, 0.0 <= getattr(self, name) < 1.0, "a number from 0 to less than 1")
        _require(self, "warmup_fraction", 0.0 <= self.warmup_fraction <= 1.0, "a fraction from 0 to 1")
        _require(self, "learning_rate", 0.0 < self.learning_rate < math.inf, "a number above 0")
        _require(self, "weight_decay", 0.0 <= self.weight_decay < math.inf, "a number of at least 0")
        _require(self, "clip_norm", self.clip_norm is None or self.clip_norm > 0, "a number above 0")
        plain = self.name is None or (self.name not in ("", ".", "..") and Path(self.name).name == self.name)
        _require(self, "name", plain, "a plain folder name; --runs says where it goes")
        if self.batch_size == 1:
            raise UserError("--batch-size 1 cannot train BatchNorm: expected at least 2")


# What may differ between a run and its resumption: none of it changes the result.
RESUMABLE = frozenset({"data_dir", "device", "workers", "runs", "name", "overwrite", "fallback"})


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as JSON can hold it: folders as strings, tuples as lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """The inverse of ``to_dict``.

    Raises:
        UserError: a field is missing, unknown, of another type or out of its range.
    """
    try:
        augment = dict(values["augment"])
        # A default must not stand in for what the run was made with.
        for settings, found in ((TrainConfig, values), (AugmentConfig, augment)):
            missing = [each.name for each in dataclasses.fields(settings) if each.name not in found]
            if missing:
                raise UserError(f"not the configuration of a Thimble run: it lacks {', '.join(missing)}")
        augment["cutout_size"] = tuple(augment["cutout_size"])
        data_dir = values["data_dir"]
        return TrainConfig(
            **{
                **values,
                "augment": AugmentConfig(**augment),
                "data_dir": None if data_dir is None else Path(data_dir),
                "runs": Path(values["runs"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"not the configuration of a Thimble run: {error}") from error


def _require(config: Any, name: str, holds: bool, expected: str) -> None:
    if not holds:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} {getattr(config, name)}: expected {expected}")
