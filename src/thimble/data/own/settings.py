"""Define the settings for own images: how a folder is read, split and checked, and how its images are fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thimble.system.settings import adopt, later, require, require_fraction, require_types, require_whole

MOST_SIDE = 256
LEAST_SIDE = 8


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
    """Keep images of one group in the same part, such as frames of one video: a manifest's column, a folder level
    (`level:2`), or a regular expression whose first bracket is the group (`(.*)_frame`)."""

    classes: tuple[str, ...] = later((), before=())
    """Use only images of these classes, in this order. If empty: all classes, in natural order."""

    duplicates: Literal["keep", "drop", "refuse"] = later("drop", before="drop")
    """What to do with images that are also in another part or under another label: leave them out of the training
    images (drop), keep them, or refuse to go on."""

    max_unreadable: float = later(0.01, before=0.01)
    """Largest fraction of files, 0..1, that may be unreadable; beyond it, stop."""

    def __post_init__(self) -> None:
        adopt(self)
        require_whole(self, "image_size", LEAST_SIDE, MOST_SIDE)
        require(self, "channels", lambda value: value in (None, 1, 3), "1 or 3")
        require_whole(self, "class_level", 0, 100)
        for name in ("image_column", "label_column", "group"):
            require(self, name, lambda value: value is None or value != "", "a name")
        require(self, "classes", lambda names: len(set(names)) == len(names), "names, all different")
        require_fraction(self, "max_unreadable")
        require_types(self)
