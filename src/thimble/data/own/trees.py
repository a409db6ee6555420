"""Define ``Tree``, the files below a folder or in an archive, and list those of a folder. No file is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
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

HIDDEN, SYSTEM, OTHER = "hidden", "of the operating system", "not images"
"""Why files are skipped."""

_SYSTEM_NAMES = frozenset(
    {"__macosx", "thumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information"}
)
_MOST_DEPTH = 100


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
    images: dict[str, str] = {}
    folders, tables = [], []
    skipped: Counter[str] = Counter()
    endings = image_endings()
    for name, entry in _walk(os.fspath(folder), "", [], skipped):
        if entry is None:
            folders.append(name)
            continue
        ending = os.path.splitext(name)[1].lower()
        if ending in endings:
            images[name] = signature_of(entry)
        elif ending in TABLES:
            tables.append(name)
        else:
            skipped[OTHER] += 1
    place = os.path.abspath(folder)
    return Tree(Path(place).name, place, FolderFiles(place), images, tuple(folders), tuple(tables), (), skipped)


TABLES = frozenset({".csv", ".tsv", ".parquet"})
"""The endings of manifests."""


def why_skipped(path: str) -> str | None:
    """Why a file or folder is skipped whatever it contains; None if it is not.

    Args:
        path: with "/" between folders; one of them may be the reason.
    """
    parts = path.split("/")
    if any(part.lower() in _SYSTEM_NAMES for part in parts):
        return SYSTEM
    return HIDDEN if any(part.startswith(".") for part in parts) else None


def signature_of(entry: os.DirEntry[str]) -> str:
    """A file's size and modification time; "missing" for a link to nothing."""
    try:
        status = entry.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _walk(
    folder: str, below: str, above: list[tuple[int, int]], skipped: Counter[str]
) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """All files, with their entries, and all folders below a folder, in natural order of their paths."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: natural(entry.name))
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; expected a readable folder") from error
    place = (status.st_dev, status.st_ino)
    if place in above or len(above) > _MOST_DEPTH:
        skipped["links to a folder that contains them"] += 1
        return
    for entry in entries:
        name = below + entry.name
        reason, is_folder = why_skipped(entry.name), entry.is_dir()
        if reason is not None:
            skipped[reason] += _num_files(entry.path) if is_folder else 1
        elif is_folder:
            yield name, None
            yield from _walk(entry.path, f"{name}/", [*above, place], skipped)
        else:
            yield name, entry


def _num_files(folder: str) -> int:
    """The number of files below a skipped folder, links not followed; 1 for a folder that is empty or unreadable."""
    return max(1, sum(len(files) for _, _, files in os.walk(folder)))
