"""Note the facts of each image that decide how a dataset's images are fitted: its size, colour and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

UNKNOWN, GREY, COLOURED = -1, 0, 1

FACTS = np.dtype(
    [("width", "<i4"), ("height", "<i4"), ("colour", "i1"), ("deep", "?"), ("low", "<f8"), ("high", "<f8")]
)
"""One image: its upright (width, height) in the file, in pixels, 0 if not known yet; whether it has a coloured pixel;
whether it is grey of more than 8 bits; if so, its ``depth_range``."""

Facts: TypeAlias = np.ndarray[Any, np.dtype[np.void]]

_GREY_MODES = ("1", "L", "LA", "La")
_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112
_LEVELS = 1 << 16
_MOST_MEASURED = 1 << 20
_ENDS = (0.001, 0.999)


def unknown(count: int) -> Facts:
    """The facts of images of which nothing is known yet."""
    facts = np.zeros(count, FACTS)
    facts["colour"] = UNKNOWN
    return facts


def facts_of(image: Image, size: tuple[int, int]) -> tuple[Any, ...]:
    """The ``FACTS`` of an opened image; pixels are only decoded if it has more than 8 bits.

    Args:
        image: as Pillow opened it.
        size: its (width, height) in the file.
    """
    width, height = size if not _is_turned(image) else size[::-1]
    deep = image.mode.startswith(("I", "F"))
    low, high = depth_range(image) if deep else (0.0, 0.0)
    return width, height, GREY if deep or image.mode in _GREY_MODES else UNKNOWN, deep, low, high


def depth_range(image: Image) -> tuple[float, float]:
    """The 0.1th and the 99.9th percentile of the values of an image of more than 8 bits; not a number counts as 0."""
    values = np.asarray(image)
    if values.size > _MOST_MEASURED:
        step = int(np.ceil(np.sqrt(values.size / _MOST_MEASURED)))
        values = values[::step, ::step]
    if values.dtype == np.uint16:  # counting is faster than sorting, and means the same
        upto = np.cumsum(np.bincount(values.ravel(), minlength=_LEVELS))
        low, high = (int(np.searchsorted(upto, share * (upto[-1] - 1), "right")) for share in _ENDS)
        return float(low), float(high)
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.quantile(finite, _ENDS, method="nearest")
    return float(low), float(high)


def has_colour(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bool:
    """Whether uint8 pixels (3, height, width) have one that is not grey."""
    return not (np.array_equal(pixels[0], pixels[1]) and np.array_equal(pixels[1], pixels[2]))


def _is_turned(image: Image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # damaged EXIF data: ``to_rgb`` takes the image as upright too
        return False
