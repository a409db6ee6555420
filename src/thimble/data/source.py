"""Define ``Source``, which loads the training and test images of a dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal, TypeAlias

from thimble.errors import UserError

from .dataset import ImageDataset
from .pixels import Fitting

Part: TypeAlias = Literal["train", "test"]


class DataUnavailable(UserError):
    """A source's images are not on disk and cannot be downloaded; the message says why and what to do."""


class Source(ABC):
    """A source of labelled images. To add one, write a subclass in a file in this folder.

    Args:
        folder: the folder of its files, also for downloads. Default: the source chooses one.

    Attributes:
        name: its name for ``--data``, which weights and run folders record.
        title: its name for people.
        hub_name: its name on the Hugging Face Hub, for model cards; empty if it is not there.
    """

    name: str
    title: str
    hub_name: str = ""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Whether a path holds this source's files, so that ``--data PATH`` can name it. By default no path does."""
        return False

    @abstractmethod
    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """Load one part into memory.

        Args:
            part: "train" or "test".
            progress: show a progress bar on stderr while downloading.

        Raises:
            DataUnavailable: the images are not on disk and cannot be downloaded.
            UserError: the folder cannot be used, or does not hold this source's files.
            RunError: a download cannot be written, e.g. because the disk is full.
        """

    def validation(self, *, progress: bool = False) -> ImageDataset | None:
        """Load the dataset's own validation images; None, as here, if it has none. ``load("train")`` leaves them out.

        Raises:
            UserError, RunError: see ``load``.
        """
        return None

    @property
    def fitting(self) -> Fitting | None:
        """How the images were fitted to their size, so that a model can fit others alike; None if they were not."""
        return None

    def is_here(self) -> bool:
        """Whether ``load`` works without internet."""
        return True

    def record(self) -> dict[str, Any]:
        """What weights and run folders record to find this source again: values that JSON can hold."""
        return {"name": self.name}


class Given(Source):
    """Images that the caller already has in memory.

    Args:
        train: the training images.
        test: the test images, of the same classes and the same size.

    Raises:
        UserError: a part is empty, or the two do not fit each other.
    """

    def __init__(self, train: ImageDataset, test: ImageDataset) -> None:
        super().__init__()
        for part in (train, test):
            if len(part) == 0:
                raise UserError(f"{part.name} has no images: expected at least one to train on, and one to test with")
        if train.classes != test.classes:
            found = " and ".join(", ".join(part.classes)[:80] for part in (train, test))
            raise UserError(f"{train.name}: training and test images have other classes ({found}): expected the same")
        if train.images.shape[1:] != test.images.shape[1:]:
            found = " and ".join(str(tuple(part.images.shape[1:])) for part in (train, test))
            raise UserError(f"{train.name}: training and test images are {found}: expected one size")
        self.parts: dict[str, ImageDataset] = {"train": train, "test": test}
        self.name = self.title = train.name

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """Return the given images."""
        return self.parts[part]

    def record(self) -> dict[str, Any]:
        """The name, and the training images' SHA-256, so that a resumed run can check that it gets the same images."""
        return {"name": self.name, "sha256": self.parts["train"].checksum()}
