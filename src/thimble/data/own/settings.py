"""Define the settings for own images: how a folder is read, split and checked, and how its images are fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thimble.errors import UserError
from thimble.system.arguments import expanded
from thimble.system.files import MEBIBYTE, read_file
from thimble.system.settings import adopt, later, require, require_fraction, require_types, require_whole

MOST_SIDE = 256
LEAST_SIDE = 8
MOST_NAMES_BYTES = 16 * MEBIBYTE


@dataclass(frozen=True)
class ImagesConfig:
    """How own images (`--data PATH`) are read, split and fitted. Other datasets ignore these settings."""

    image_size: int | None = later(None, before=None)
    """Side of the network's input, in pixels. Default: the largest of 32, 48, 64, 96 and 128 that most images have."""

    fit: Literal["auto", "crop", "pad", "squash"] = later("auto", before="auto")
    """How an image becomes square: crop its centre, pad it with grey, or squash it. auto: by the aspect ratios."""

    channels: int | None = later(None, before=None)
    """1 for grey images, 3 for colour. Default: 1 if all images are grey."""

    class_level: int | None = later(None, before=None)
    """Which folder names the class, counted from 1 below the part; 0 is the folder that holds the image. Default: 1."""

    image_column: str | None = later(None, before=None)
    """Column of a manifest with the images' paths. Default: path, image, file_name or similar."""

    label_column: str | None = later(None, before=None)
    """Column of a manifest with the labels. Default: label, class, target or similar."""

    group: str | None = later(None, before=None)
    """Keep images of one group in one part, as frames of one video: a column, `level:2`, or a pattern `(.*)_frame`."""

    classes: tuple[str, ...] = later((), before=())
    """Use only these classes, in this order; or a file with a name on each line. Default: all, in natural order."""

    duplicates: Literal["keep", "drop", "refuse"] = later("drop", before="drop")
    """Images that are also in another part or under another label: train without them, with them, or stop."""

    max_unreadable: float = later(0.01, before=0.01)
    """Largest fraction of files, 0..1, that may be unreadable; beyond it, stop."""

    def __post_init__(self) -> None:
        adopt(self)
        require_whole(self, "image_size", LEAST_SIDE, MOST_SIDE)
        require(self, "channels", lambda value: value in (None, 1, 3), "1 or 3")
        require_whole(self, "class_level", 0, 100)
        for name in ("image_column", "label_column", "group"):
            require(self, name, lambda value: value is None or value != "", "a name")
        names = self.classes
        if isinstance(names, tuple) and len(names) == 1 and isinstance(names[0], str):
            object.__setattr__(self, "classes", _names_in(names[0]))
        require(self, "classes", lambda names: len(set(names)) == len(names), "names, all different")
        require_fraction(self, "max_unreadable")
        require_types(self)


def _names_in(path: str) -> tuple[str, ...]:
    """The lines of a file of class names, without empty ones.

    Raises:
        UserError: there is no such file, it is not UTF-8, or has less than two names.
    """
    file = expanded(path)
    if not file.is_file():
        raise UserError(f"--classes {path}: expected at least two classes, or a file with a name on each line")
    try:
        lines = read_file(file, MOST_NAMES_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"--classes {path} is not UTF-8: expected a file with a name on each line") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) < 2:
        raise UserError(f"--classes {path} has {len(names)} names: expected at least two, one on each line")
    return names
