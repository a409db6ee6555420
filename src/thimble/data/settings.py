"""The settings of the data: what is trained on, and what is set aside."""

from __future__ import annotations

from dataclasses import dataclass

from thimble.system.settings import adopt, require, require_types, require_whole


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, and what is set aside."""

    data: str = "cifar10"
    """What to train on: a dataset's name (cifar10; shapes10, the built-in drawings that need no file), or a path to
    one."""

    validation: int = 5000
    """Training images set aside for validation, the same in every run; 0 trains on all of them."""

    train_images: int | None = None
    """Use only so many training images (None: all that validation leaves). For quick trials."""

    def __post_init__(self) -> None:
        adopt(self)
        require(self, "data", lambda name: name != "" and "\0" not in name, "a dataset's name or a path")
        require_whole(self, "validation", 0, 2**63 - 1)
        require_whole(self, "train_images", 1, 2**63 - 1)
        require_types(self)
