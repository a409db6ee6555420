"""What a source of images is: one place that labelled images come from, in a training and a test part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal, TypeAlias

from thimble.errors import UserError

from .dataset import ImageDataset

Part: TypeAlias = Literal["train", "test"]


class DataUnavailable(UserError):
    """A source's images are neither on disk nor to be fetched: why, and what to do, in one line."""


class Source(ABC):
    """A place that labelled images come from. A new kind is a subclass, in a file beside this one.

    Args:
        folder: where its files are, or go if they are downloaded. Default: a place of its own choice.

    Attributes:
        name: what ``--data`` names it by, and what weights and run folders record.
        title: its name as people write it.
        hub_name: its name on the Hugging Face Hub, for model cards; empty if it is not there.
    """

    name: str
    title: str
    hub_name: str = ""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Whether a path holds data of this kind, so that ``--data PATH`` can name it. By default none does."""
        return False

    @abstractmethod
    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """Load one part into memory.

        Args:
            part: "train" or "test".
            progress: show a progress bar on stderr while downloading.

        Raises:
            DataUnavailable: the images are not on disk, and cannot be fetched.
            UserError: the folder cannot be used, or holds something else.
            RunError: a download cannot be written, e.g. because the disk is full.
        """

    def is_here(self) -> bool:
        """Whether ``load`` needs no network."""
        return True

    def record(self) -> dict[str, Any]:
        """What weights and run folders record of it, as JSON can hold it: enough to find and to recognise it."""
        return {"name": self.name}


class Given(Source):
    """Images that the caller has in memory already.

    Args:
        train: the images to train on.
        test: those to test with.
    """

    def __init__(self, train: ImageDataset, test: ImageDataset) -> None:
        super().__init__()
        self.parts: dict[str, ImageDataset] = {"train": train, "test": test}
        self.name = self.title = train.name

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """The images as they were given."""
        return self.parts[part]

    def record(self) -> dict[str, Any]:
        """Their name, and a checksum of the training images, by which a run that is resumed knows them again."""
        return {"name": self.name, "sha256": self.parts["train"].checksum()}
