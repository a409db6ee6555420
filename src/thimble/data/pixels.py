"""From an image of any mode and size to what a network sees: its pixels, and the same part of the image to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

PICTURE_SIDE = 256
"""The longer side of a picture to look at, in pixels."""

MOST_PIXELS = 16_000_000
"""Larger images are cropped to the part that the network sees and averaged over whole squares, down to a quarter of
this at least: more than 8x8 pixels for every one of a network of 256x256."""

_BLOCK = 1 << 20
"""Pixels that are converted at a time, which bounds the memory and changes no value."""

_ORIENTATION = 0x0112


@dataclass(frozen=True)
class View:
    """What a network sees of an image.

    Attributes:
        pixels: uint8 (3, height, width), red, green, blue, 0..255: the network's input, to be normalised.
        picture: the same part of the image for people, RGB, in the network's aspect ratio, the longer side 256 pixels.
    """

    pixels: Tensor
    picture: Image


def view_of(image: Image, size: tuple[int, int]) -> View:
    """Take the largest centred part of an image that has a network's shape, twice: for the network and for people.

    The image is made upright and opaque first, see ``to_rgb``. The network's pixels are resized bicubically with
    antialiasing; an image that has the size already keeps its pixels as they are. Colour profiles are ignored.

    Args:
        image: a PIL image of any mode and size.
        size: the network's (height, width) in pixels.
    """
    from PIL.Image import Resampling

    rgb = to_rgb(image, size)
    box = _centre(rgb.size, size[::-1])
    shown = picture_size(size)
    # Small images keep their pixels visible.
    method = Resampling.NEAREST if box[2] - box[0] < shown[0] else Resampling.LANCZOS
    return View(_fitted(rgb, box, size), rgb.resize(shown, method, box=box))


def to_input(image: Image, size: tuple[int, int]) -> Tensor:
    """The ``pixels`` of ``view_of`` alone: uint8 (3, height, width), red, green, blue, 0..255."""
    rgb = to_rgb(image, size)
    return _fitted(rgb, _centre(rgb.size, size[::-1]), size)


def _fitted(rgb: Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> Tensor:
    from PIL.Image import Resampling

    fitted = rgb.resize(size[::-1], Resampling.BICUBIC, box=box)
    return torch.from_numpy(np.array(fitted, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def picture_size(size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) of a ``View``'s picture for a network's (height, width)."""
    height, width = (max(1, round(PICTURE_SIDE * side / max(size))) for side in size)
    return width, height


def to_rgb(image: Image, size: tuple[int, int] | None = None) -> Image:
    """An image as a person would see it: upright by its EXIF orientation, transparency laid over white, in RGB.

    Grey of more than 8 bits is scaled to 0..255: 16 bits by their range, floats from 0..1 or 0..255, beyond that by
    their peak.

    Args:
        image: a PIL image of any mode and size; not changed.
        size: the (height, width) of the network that it is for. Of an image of more than ``MOST_PIXELS``, only the
            largest centred part of this shape is kept. Default: all of it.
    """
    from PIL import Image
    from PIL.Image import Transpose

    image.load()
    turn = _turn(image)
    box, factor = (0, 0, *image.size), 1
    if image.width * image.height > MOST_PIXELS:
        if size is not None:
            height, width = size
            if turn in (Transpose.TRANSPOSE, Transpose.TRANSVERSE, Transpose.ROTATE_90, Transpose.ROTATE_270):
                height, width = width, height
            left, top, right, bottom = _centre(image.size, (width, height))
            box = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
        factor = shrinking((box[2] - box[0]) * (box[3] - box[1]))
    white = _white(image)
    upright = Image.new("RGB", (math.ceil((box[2] - box[0]) / factor), math.ceil((box[3] - box[1]) / factor)))
    for left, top, right, bottom in _blocks(box, factor):
        part = _opaque(image.crop((left, top, right, bottom)), white)
        upright.paste(part.reduce(factor), ((left - box[0]) // factor, (top - box[1]) // factor))
    return upright if turn is None else upright.transpose(turn)


def shrinking(num_pixels: int) -> int:
    """By how much the sides of so large an image are divided: by as little as brings it to ``MOST_PIXELS``."""
    return max(1, math.ceil(math.sqrt(num_pixels / MOST_PIXELS)))


def seen_pixels(image_size: tuple[int, int], size: tuple[int, int] | None) -> float:
    """How many pixels of an image, upright or lying, a network of (height, width) sees at least; all without one."""
    if size is None:
        return image_size[0] * image_size[1]
    boxes = [_centre(image_size, shape) for shape in (size, size[::-1])]
    return min((right - left) * (bottom - top) for left, top, right, bottom in boxes)


def _centre(found: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of the largest centred part of ``wanted`` shape, both (width, height): PIL.ImageOps.fit's, to the bit."""
    width: float
    height: float
    width, height = found
    ratio = wanted[0] / wanted[1]
    if width / height > ratio:
        width = ratio * height
    elif width / height < ratio:
        height = width / ratio
    left, top = (found[0] - width) * 0.5, (found[1] - height) * 0.5
    return left, top, left + width, top + height


def _blocks(box: tuple[int, int, int, int], factor: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of about ``_BLOCK`` pixels that fill a box; their sides are multiples of ``factor``, but at its end."""
    wide = min(box[2] - box[0], _BLOCK // factor)
    columns = math.ceil(wide / factor) * factor
    rows = max(1, _BLOCK // (columns * factor)) * factor
    for top in range(box[1], box[3], rows):
        for left in range(box[0], box[2], columns):
            yield left, top, min(left + columns, box[2]), min(top + rows, box[3])


def _turn(image: Image) -> Transpose | None:
    """What makes an image upright; None if it is, or if its EXIF block is damaged, in as many ways as there are."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return None


def _opaque(image: Image, white: float) -> Image:
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        scaled = np.rint(_depths(image) * (255.0 / white))
        return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        paper = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, with_alpha).convert("RGB")
    return image.convert("RGB")


def _depths(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _white(image: Image) -> float:
    """The value that is white in grey of more than 8 bits, which Pillow would clip; 255 for all other images."""
    if not image.mode.startswith(("I", "F")):
        return 255.0
    if image.mode.startswith("I;16"):
        return 65_535.0
    peak = max(float(_depths(image.crop(block)).max()) for block in _blocks((0, 0, *image.size), 1))
    if image.mode == "F":
        # Floats carry no range of their own: 0..1 and 0..255 are the usual ones, beyond them the peak is white.
        return 1.0 if peak <= 1.0 else 255.0 if peak <= 255.0 else peak
    # Mode I stands for 16 bits, however dark the image is; it can hold more, and then the peak is white.
    return max(65_535.0, peak)
