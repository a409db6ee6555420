"""Every source of images, by name: where a dataset comes from and how it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from thimble.errors import UserError

from .cifar10 import CLASSES as CIFAR10_CLASSES
from .cifar10 import load_cifar10
from .dataset import ImageDataset
from .shapes10 import CLASSES as SHAPES10_CLASSES
from .shapes10 import load_shapes10

DATASETS: tuple[str, ...] = ("cifar10", "shapes10")


def dataset_of(classes: Sequence[str]) -> str:
    """The dataset that has these classes.

    Raises:
        UserError: none has.
    """
    for name, names in (("cifar10", CIFAR10_CLASSES), ("shapes10", SHAPES10_CLASSES)):
        if tuple(classes) == tuple(names):
            return name
    raise UserError(f"no dataset has the classes {', '.join(classes)[:80]}: expected those of {', '.join(DATASETS)}")


def load_dataset(
    name: str, part: Literal["train", "test"], data_dir: Path | None = None, *, progress: bool = False
) -> ImageDataset:
    """Load one part of a dataset into memory.

    Args:
        name: one of ``DATASETS``. "cifar10" is looked for, and downloaded where it is missing; "shapes10" is drawn.
        part: "train" (CIFAR-10: 50,000 images, shapes10: 20,000) or "test" (10,000 and 2,000).
        data_dir: the folder that holds, or will hold, CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.
        progress: show a progress bar on stderr while downloading.

    Raises:
        DataUnavailable: CIFAR-10 is not on disk, and no source of it can be reached.
        UserError: an unknown name or part, or a folder that cannot be used or holds something else.
        RunError: the download cannot be written, e.g. because the disk is full.
    """
    if part not in ("train", "test"):
        raise UserError(f"unknown part {part!r} of a dataset: expected train or test")
    if name == "cifar10":
        return load_cifar10(part, data_dir, progress=progress)
    if name == "shapes10":
        return load_shapes10(part)
    raise UserError(f"unknown dataset {name!r}: expected one of {', '.join(DATASETS)}")
