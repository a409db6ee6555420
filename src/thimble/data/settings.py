"""Define the settings of the data: which images to train on, and which to set aside."""

from __future__ import annotations

from dataclasses import dataclass

from thimble.system.settings import adopt, require, require_types, require_whole


@dataclass(frozen=True)
class DataConfig:
    """Which images to train on, and which to set aside."""

    data: str = "cifar10"
    """Dataset: a path to your own images (a folder, a manifest or an archive), or a name, such as cifar10 or shapes10
    (built-in drawings that need no download)."""

    validation: int | None = 5000
    """Number of training images set aside for validation, the same in every run. 0 trains on all images. None: the
    dataset's own validation images, if it has any."""

    train_images: int | None = None
    """Number of images to train on, for quick trials. None: all that validation leaves."""

    def __post_init__(self) -> None:
        adopt(self)
        require(self, "data", lambda name: name != "" and "\0" not in name, "a dataset's name or a path")
        require_whole(self, "validation", 0, 2**63 - 1)
        require_whole(self, "train_images", 1, 2**63 - 1)
        require_types(self)
