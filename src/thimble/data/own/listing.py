"""Define ``Listing``, what a reader of one layout finds at a path: the images' names, labels, parts and groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from PIL.Image import Image

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Entry:
    """One image, not yet opened.

    Attributes:
        name: its path inside the dataset, with "/" between folders: unique in a listing, and what messages show.
        label: its class name.
        part: the part that the layout puts it in; None if the layout has no parts.
        group: images of one group must not be in different parts; None if it is in no group.
        signature: changes whenever the content may have changed: for a file, its size and modification time.
    """

    name: str
    label: str
    part: Part | None = None
    group: str | None = None
    signature: str = ""


class Files(ABC):
    """Gives the images' contents. It is sent to worker processes, so it must be picklable and open files lazily."""

    @abstractmethod
    def read(self, name: str) -> bytes | Image:
        """Read an entry's file (at most 1 GiB), or return the image itself if the source holds plain pixels.

        A source that can only be read from its beginning, such as a .tar.gz, is read fastest in the listing's order.

        Raises:
            UserError: it does not exist any more, or cannot be read; the message names the file.
        """


@dataclass(frozen=True)
class Listing:
    """The images of a dataset and their labels, as its layout has them; no image was opened.

    Attributes:
        title: the dataset's name for people: the name of the folder or file.
        layout: what was understood, in one line, such as "class folders in train and test".
        entries: the images in natural order of their names, or in the archive's order.
        classes: all classes, naturally sorted, those without images too.
        files: reads the entries.
        skipped: the number of files that are no images, by reason, such as "hidden".
        missing: the names of images that a manifest lists and that do not exist.
        notes: remarks for the user, each one sentence.
        place: the absolute path, or the address, that was listed: the cache keeps scans by it. If empty, every scan
            reads all files.
    """

    title: str
    layout: str
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    files: Files
    skipped: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    place: str = ""
