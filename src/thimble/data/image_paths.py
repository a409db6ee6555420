"""Find the image files in a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import NoReturn

from thimble.errors import UserError

_SKIPPED = "__MACOSX"
"""macOS puts this folder into archives; its files have the images' names, but are none."""

_NUMBER = re.compile(r"([0-9]+)")
"""Digits of other scripts count as letters: int() does not read all of them."""


def images_in(folder: Path) -> list[Path]:
    """List the image files in a folder, at any depth, in natural order; no file is opened.

    A file is taken for an image by its ending. Hidden files and folders, ``__MACOSX`` and links to folders are skipped.

    Raises:
        UserError: a folder cannot be read, or there is no image.
    """
    endings = image_endings()
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".") and name != _SKIPPED]
        images = [name for name in files if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings]
        found += [Path(place, name) for name in images]
    if not found:
        raise UserError(
            f"{folder} has no images: expected files with endings such as .jpg or .png, also in its folders"
        )
    return sorted(found, key=lambda path: [natural(part) for part in path.relative_to(folder).parts])


def image_endings() -> frozenset[str]:
    """The endings of image files in the formats that Thimble reads, such as ".jpg", in lower case."""
    from PIL import Image

    from .opening import FORMATS

    known = Image.registered_extensions().items()
    return frozenset(ending.lower() for ending, kind in known if kind in (*FORMATS, "MPO"))


def natural(name: str) -> tuple[list[str | int], str]:
    """A key that sorts names as people do, numbers by their value: img2 before img10."""
    pieces: list[str | int] = [*_NUMBER.split(name.casefold())]
    pieces[1::2] = [int(digits[:4000]) for digits in pieces[1::2]]  # type: ignore[index]  # these are all digits
    return pieces, name


def composed(name: str) -> str:
    """The name with each accented letter as one character, in whichever of the two forms a file system stores it."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"cannot read {error.filename}: {error.strerror}; expected a readable folder") from error
