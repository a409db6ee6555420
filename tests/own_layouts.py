"""Folders, archives and listings of small files, for the tests of layouts."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from thimble.data.own.layouts import read_listing
from thimble.data.own.listing import Listing
from thimble.data.own.settings import ImagesConfig


def made(folder: Path, names: Iterable[str]) -> Path:
    """A folder of empty files; a name that ends with "/" is a folder."""
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return folder


def lock_folder(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Let no folder be read whose path ends so: root, who runs tests too, may read any real one."""
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).rstrip("/").endswith(ending):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def listed(folder: Path, names: Iterable[str], **settings: object) -> Listing:
    """The listing of a folder of empty files."""
    return read_listing(made(folder, names), ImagesConfig(**settings))  # type: ignore[arg-type]


def summary(listing: Listing) -> list[tuple[str, str, str | None]]:
    """Name, label and part of each entry."""
    return [(entry.name, entry.label, entry.part) for entry in listing.entries]


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    """A .zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    """A .tar, or a .tar.gz by its name."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path
