"""Folders of images for the tests of own images, and listings of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thimble.data.own.listing import Entry, Files, Listing
from thimble.system.files import read_file

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class FolderFiles(Files):
    """The files of a folder."""

    root: Path

    def read(self, name: str) -> bytes | Image:
        return read_file(self.root / name, 2**30)


@dataclass(frozen=True)
class Watched(FolderFiles):
    """Calls back for each file that is read."""

    seen: Callable[[str], object]

    def read(self, name: str) -> bytes | Image:
        self.seen(name)
        return super().read(name)


def watched(root: Path, seen: Callable[[str], object]) -> Listing:
    """``folder_listing``, with a function that is called for each file that is read."""
    return replace(folder_listing(root), files=Watched(root, seen))


def folder_listing(root: Path, *, place: str | None = None) -> Listing:
    """List all files below a folder; the folder that holds one is its class."""
    entries = tuple(
        Entry(path.relative_to(root).as_posix(), path.parent.name, signature=_signature(path))
        for path in sorted(root.rglob("*"))
        if path.is_file()
    )
    classes = tuple(sorted({entry.label for entry in entries}))
    return Listing(
        root.name, "class folders", entries, classes, FolderFiles(root), place=str(root) if place is None else place
    )


def _signature(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
