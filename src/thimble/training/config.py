"""TrainConfig: every setting of a training run, with its default, its unit, its help and its check.

The dataclasses are the command line (tyro reads them) and the ``config.json`` of a run (``config_file``). ``recipes``
has the functions that fill them in.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from thimble.data.augment.settings import AugmentConfig
from thimble.errors import UserError
from thimble.system.settings import adopt, require, require_types


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The defaults are the recipe ``reference``; ``recipes.RECIPES`` has them all."""

    model: str = "reference"
    """The architecture to train; `thimble.list_models()` names them."""

    data: str = "cifar10"
    """What to train on: a dataset's name (cifar10; shapes10, the built-in drawings that need no file), or a path to
    one."""

    data_dir: Path | None = None
    """Folder that holds (or will hold) `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache."""

    fallback: bool = False
    """If the data are neither on disk nor to be fetched, say so and train on shapes10 instead of stopping."""

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

    mix_probability: float = 0.0
    """Share of the batches, 0..1, whose images are mixed in pairs, and their labels with them: by mixup, a weighted
    mean, or by CutMix, a rectangle of the one on the other, with even chances."""

    mix_alpha: float = 0.5
    """How evenly: the share of an image is drawn from Beta(alpha, alpha), near 0 or 1 for a small alpha."""

    mix_ramp: tuple[float, float] = (0.0, 1.0)
    """Parts of the epochs, 0..1: until the first the share of mixed batches rises in a line from zero, and after the
    second no batch is mixed."""

    teacher: str | None = None
    """A trained MODEL to learn from, beside the labels: a shipped model's name, a weights file or a run folder. It sees
    the same augmented images, at full size."""

    bank: Path | None = None
    """A file of `thimble bank` to learn from, instead of a teacher: its answers to several views of every image. The
    views have the bank's augmentation and mixing; of the mixing settings only the end of `--mix-ramp` counts, after
    which no view is mixed."""

    teacher_weight: float = 0.9
    """Share of the loss, 0..1, that is the divergence from the answers of teacher or bank; the rest is the labels'."""

    temperature: float = 2.0
    """What both networks' logits are divided by, for that divergence: above 1, the less probable classes count more."""

    dropout: float = 0.0
    """Dropout probability inside the network, from 0 to less than 1."""

    ema_decay: float = 0.99
    """Decay per step of the moving average of the weights, from 0 (none) to less than 1. The average is what is
    validated, tested and saved."""

    swa_fraction: float = 0.0
    """Last part of all steps, from 0 (none) to less than 1, over which the average counts every step alike: stochastic
    weight averaging, instead of the moving average."""

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
        adopt(self)
        if self.teacher is not None and self.bank is not None:
            raise UserError("use --teacher or --bank, not both: a bank holds its teacher's answers")
        for name, (least, most) in _WHOLE_NUMBERS.items():
            if getattr(self, name) is not None or name not in ("workers", "train_images"):
                require(self, name, functools.partial(operator.le, least), f"a whole number of at least {least}")
                require(self, name, functools.partial(operator.ge, most), f"a whole number of at most {most:,}")
        for name in (
            "momentum",
            "muon_momentum",
            "label_smoothing",
            "dropout",
            "ema_decay",
            "swa_fraction",
            "skip_easy",
        ):
            require(self, name, lambda value: 0.0 <= value < 1.0, "a number from 0 to less than 1")
        for name in ("warmup_fraction", "mix_probability", "teacher_weight"):
            require(self, name, lambda value: 0.0 <= value <= 1.0, "a fraction from 0 to 1")
        growing = "two growing fractions from 0 to 1"
        require(self, "mix_ramp", lambda ramp: 0.0 <= ramp[0] <= ramp[1] <= 1.0, growing)
        for name in ("learning_rate", "muon_learning_rate", "mix_alpha", "temperature"):
            require(self, name, lambda value: 0.0 < value < math.inf, "a number above 0")
        sides = "whole numbers of at least 8 pixels"
        require(self, "image_sizes", lambda sizes: all(size >= 8 for size in sizes), sides)
        few = "at most 100 sizes, of at most 1,024 pixels"
        require(self, "image_sizes", lambda sizes: len(sizes) <= 100 and max(sizes, default=0) <= 1024, few)
        require(self, "weight_decay", lambda value: 0.0 <= value < math.inf, "a number of at least 0")
        require(self, "clip_norm", lambda value: value is None or 0.0 < value < math.inf, "a number above 0")
        require(self, "name", _is_plain, "a plain folder name; --runs says where it goes")
        require(self, "teacher", lambda value: True, "the name or the path of a model")
        require(self, "data", lambda name: name != "" and "\0" not in name, "a dataset's name or a path")
        for name in ("data_dir", "runs", "bank"):
            require(self, name, lambda path: "\0" not in str(path), "a path")
        require_types(self)
        if self.batch_size == 1:
            raise UserError("--batch-size 1 cannot train BatchNorm: expected at least 2")


_WHOLE_NUMBERS = {
    "epochs": (1, 100_000),
    "batch_size": (1, 1_000_000),
    "validation": (0, 2**63 - 1),
    "seed": (0, 2**63 - 1),
    "workers": (0, 256),
    "train_images": (1, 2**63 - 1),
}
"""The least and the greatest value of each. Without the greatest, a forged file could ask for a million workers."""


def _is_plain(name: str | None) -> bool:
    return name is None or (name not in ("", ".", "..") and Path(name).name == name and "\0" not in name)


def headline(config: TrainConfig) -> str:
    """The settings of a run that matter most, in one line."""
    return (
        f"{config.model} on {config.data}, {config.epochs} epochs at batch size {config.batch_size}, peak learning rate"
        f" {config.learning_rate}, seed {config.seed}, {config.precision}"
    )
