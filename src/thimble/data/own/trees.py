"""Define ``Tree``, the files below a folder or in an archive, and list those of a folder. No file is opened."""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from thimble.data.image_paths import image_endings, natural
from thimble.data.opening import MOST_FILE_BYTES
from thimble.errors import UserError
from thimble.system.files import read_file

from .listing import Files

if TYPE_CHECKING:
    from PIL.Image import Image

HIDDEN, SYSTEM, OTHER = "hidden", "of the operating system", "that are no images"
"""Why files are skipped."""

_SYSTEM_NAMES = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information"}
    | {"lost+found", "@eadir", "#recycle"}
)
_MOST_DEPTH = 100
_SAME_DIGIT = str.maketrans("123456789", "000000000")
_name_of = operator.attrgetter("name")


@dataclass(frozen=True, eq=False)
class Tree:
    """The files below a folder, or in an archive.

    Attributes:
        title: its name for people.
        place: its absolute path.
        files: reads them.
        images: the signatures of the files that are images by their endings, by their path below the tree, with "/"
            between folders: in natural order of the paths, or in an archive's order.
        folders: all folders that are not skipped, in natural order, also those without images.
        tables: the paths of files that may be manifests.
        others: in an archive, the paths of all other files that are not skipped.
        skipped: the number of other files, by reason.
    """

    title: str
    place: str
    files: Files
    images: Mapping[str, str]
    folders: tuple[str, ...]
    tables: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FolderFiles(Files):
    """Files on disk.

    Attributes:
        folder: an absolute path.
    """

    folder: str

    def read(self, name: str) -> bytes | Image:
        """Read the file ``name`` below the folder, or at an absolute path."""
        return read_file(Path(self.folder, name), MOST_FILE_BYTES)


def folder_tree(folder: Path) -> Tree:
    """List what is below a folder.

    Links to files and folders are followed, but not to a folder that contains the link.

    Raises:
        UserError: a folder cannot be read.
    """
    place = os.path.abspath(folder)
    found = _Found(image_endings())
    found.add(os.fspath(folder), "", ())
    return Tree(
        Path(place).name, place, FolderFiles(place), found.images, tuple(found.folders), tuple(found.tables), (),
        +found.skipped,
    )  # fmt: skip


TABLES = frozenset({".csv", ".tsv", ".parquet"})
"""The endings of manifests."""


def ending_of(path: str) -> str:
    """A file's ending in lower case, such as ".jpg"; "" if it has none."""
    name, dot, ending = path.rpartition(".")
    return f".{ending.lower()}" if dot and "/" not in ending and name[-1:] not in ("", "/") else ""


def why_skipped(path: str) -> str | None:
    """Why a file or folder is skipped whatever it contains; None if it is not.

    Args:
        path: with "/" between folders; the first that is skipped by itself is the reason.
    """
    for name in path.split("/"):
        if name.lower() in _SYSTEM_NAMES:
            return SYSTEM
        if name[:1] == ".":
            return HIDDEN
    return None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; a link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def signature_of(entry: os.DirEntry[str]) -> str:
    """A file's size and modification time; "missing" for a link to nothing."""
    try:
        status = entry.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True)
class _Found:
    """What was found below a folder so far, by the names of ``Tree``'s attributes."""

    endings: frozenset[str]
    images: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, folder: str, below: str, above: tuple[tuple[int, int], ...]) -> None:
        """Add a folder's content, in natural order.

        Args:
            folder: its path.
            below: the prefix of its content's names: "" or its name and "/".
            above: the folders that contain it, by device and number.
        """
        try:
            status = os.stat(folder)
            with os.scandir(folder) as content:
                entries = _sorted([*content])
        except OSError as error:
            raise UserError(f"cannot read {folder}: {error.strerror}; expected a readable folder") from error
        place = (status.st_dev, status.st_ino)
        if place in above:
            self.skipped["links to a folder that contains them"] += 1
            return
        if len(above) > _MOST_DEPTH:
            self.skipped[f"more than {_MOST_DEPTH} folders deep"] += _num_files(folder)
            return
        for entry in entries:
            self._add_one(entry, below + entry.name, (*above, place))

    def _add_one(self, entry: os.DirEntry[str], name: str, above: tuple[tuple[int, int], ...]) -> None:
        reason = why_skipped(entry.name)
        if is_folder(entry):
            if reason is None:
                self.folders.append(name)
                self.add(entry.path, f"{name}/", above)
            else:
                self.skipped[reason] += _num_files(entry.path)
        elif reason is not None:
            self.skipped[reason] += 1
        elif (ending := ending_of(entry.name)) in self.endings:
            self.images[name] = signature_of(entry)
        elif ending in TABLES:
            self.tables.append(name)
        else:
            self.skipped[OTHER] += 1


def _sorted(entries: list[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    """Sort entries in natural order of their names."""
    if len({entry.name.translate(_SAME_DIGIT) for entry in entries}) == 1:
        return sorted(entries, key=_name_of)  # only their digits differ, which are as many: it is the same, and fast
    return sorted(entries, key=lambda entry: natural(entry.name))


def _num_files(folder: str) -> int:
    """The number of files below a skipped folder that can be read, links not followed."""
    return sum(len(files) for _, _, files in os.walk(folder))
