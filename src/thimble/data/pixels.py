"""Turn an image of any mode and size into a network's input, and into a picture of the same part for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from thimble.system.lazily import torch  # the scan's processes, which fit images, start faster without it

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling, Transpose
    from torch import Tensor

Fit: TypeAlias = Literal["crop", "pad", "squash"]

PICTURE_SIDE = 256
"""The longer side of a picture for people, in pixels."""

MOST_PIXELS = 16_000_000
"""Larger images are cropped to the part that the network sees, and shrunk by averaging squares of pixels, to no less
than a quarter of this number. Even for an input of 256x256, more than 8x8 pixels remain for each input pixel."""

_BLOCK = 1 << 20
"""The number of pixels converted at a time. It limits the memory and changes no value."""

_ORIENTATION = 0x0112


PADDING = 128
"""The grey that fills the borders of a padded image, 0..255."""


class Fitted(Protocol):
    """A model that carries how its images are fitted: a ``Classifier`` or an exported file."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width)."""

    @property
    def fit(self) -> str:
        """See ``Fitting.fit``."""

    @property
    def depth(self) -> tuple[float, float] | None:
        """See ``Fitting.depth``."""


@dataclass(frozen=True)
class Fitting:
    """How an image of any size and kind becomes a network's input; a model carries these values.

    Attributes:
        size: the network's (height, width) in pixels.
        channels: 3 for red, green, blue; 1 for grey.
        fit: crop keeps the largest centred part with the network's aspect ratio; pad keeps the whole image and its
            aspect ratio, with borders of ``PADDING``; squash keeps the whole image and changes its aspect ratio.
        depth: the values that become 0 and 255 in grey of more than 8 bits. None: see ``to_rgb``.
    """

    size: tuple[int, int]
    channels: int = 3
    fit: Fit = "crop"
    depth: tuple[float, float] | None = None

    @classmethod
    def of(cls, model: Fitted) -> Fitting:
        """How a model's images are fitted."""
        channels, height, width = model.input_size
        return cls((height, width), channels, model.fit, model.depth)  # type: ignore[arg-type]


@dataclass(frozen=True)
class View:
    """What a network sees of an image.

    Attributes:
        pixels: uint8 (channels, height, width), red, green, blue, or grey, 0..255: the network's input before
            normalisation.
        picture: the same part of the image for people, RGB, in the network's aspect ratio; its longer side has 256
            pixels.
    """

    pixels: Tensor
    picture: Image


def view_of(image: Image, fitting: Fitting) -> View:
    """Fit an image, for the network and for people.

    First the image is made upright and opaque, see ``to_rgb``. The network's pixels are resized bicubically with
    antialiasing; an image that already has the network's size keeps its pixels. Colour profiles are ignored.

    Args:
        image: a PIL image of any mode and size.
        fitting: the network's size, channels and fit.
    """
    from PIL.Image import Resampling

    rgb = to_rgb(image, fitting)
    shown = picture_size(fitting.size)
    if fitting.channels == 1:
        rgb = rgb.convert("L").convert("RGB")
    # In the picture of a small image, the pixels stay visible.
    small = _seen(rgb.size, fitting) < shown[0]
    picture = _placed(rgb, fitting, shown, Resampling.NEAREST if small else Resampling.LANCZOS)
    return View(torch.from_numpy(to_array(rgb, fitting)), picture)


def to_input(image: Image, fitting: Fitting) -> Tensor:
    """Only the ``pixels`` of ``view_of``: uint8 (channels, height, width), 0..255."""
    return torch.from_numpy(to_array(to_rgb(image, fitting), fitting))


def to_array(rgb: Image, fitting: Fitting) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """``to_input`` of an image that ``to_rgb`` has returned for this fitting, as an array; needs no PyTorch."""
    from PIL.Image import Resampling

    image = rgb if fitting.channels == 3 else rgb.convert("L")
    placed = np.array(_placed(image, fitting, fitting.size[::-1], Resampling.BICUBIC), dtype=np.uint8)
    return np.ascontiguousarray(placed.reshape(*fitting.size, fitting.channels).transpose(2, 0, 1))


def to_picture(pixels: Tensor) -> Image:
    """Turn uint8 pixels (3 or 1, height, width), 0..255, on any device, into a picture of mode RGB or L."""
    from PIL import Image

    array = pixels.permute(1, 2, 0).contiguous().cpu().numpy()
    return Image.fromarray(array if len(pixels) == 3 else array[:, :, 0])


def _placed(image: Image, fitting: Fitting, wanted: tuple[int, int], method: Resampling) -> Image:
    """Resize an image to (width, height), the network's or in its aspect ratio, by cropping, padding or squashing."""
    from PIL import Image

    if fitting.fit != "pad":
        return image.resize(wanted, method, box=_centre(image.size, wanted) if fitting.fit == "crop" else None)
    left, top, right, bottom = _padded(image.size, fitting.size[::-1])
    # A picture has the network's borders, which are whole pixels of the network's.
    across, down = wanted[0] / fitting.size[1], wanted[1] / fitting.size[0]
    box = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    page = Image.new(image.mode, wanted, PADDING if image.mode == "L" else (PADDING,) * 3)
    page.paste(image.resize((max(1, box[2] - box[0]), max(1, box[3] - box[1])), method), box[:2])
    return page


def _padded(found: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box in which a whole image is centred on a page: as PIL.ImageOps.pad, at least a pixel."""
    width, height = wanted
    if found[0] / found[1] > width / height:
        height = max(1, round(found[1] / found[0] * width))
    elif found[0] / found[1] < width / height:
        width = max(1, round(found[0] / found[1] * height))
    left, top = round((wanted[0] - width) * 0.5), round((wanted[1] - height) * 0.5)
    return left, top, left + width, top + height


def _seen(found: tuple[int, int], fitting: Fitting) -> float:
    """The width in pixels of the part of an image (width, height) that a picture's width shows."""
    if fitting.fit == "squash":
        return found[0]
    left, _, right, _ = _centre(found, fitting.size[::-1])
    whole = max(found[0], found[1] * fitting.size[1] / fitting.size[0])
    return right - left if fitting.fit == "crop" else whole


def picture_size(size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) of a ``View``'s picture for a network's (height, width)."""
    height, width = (max(1, round(PICTURE_SIDE * side / max(size))) for side in size)
    return width, height


def to_rgb(image: Image, fitting: Fitting | None = None) -> Image:
    """Convert an image to RGB, upright by its EXIF orientation, with transparency laid over white.

    Grey of more than 8 bits is scaled to 0..255, from the range that the fitting gives. Without one, 16 bits are scaled
    from their full range; floats from 0..1 or 0..255, or from 0 to their maximum if it is larger.

    Args:
        image: a PIL image of any mode and size; not changed.
        fitting: a network's. If it crops, only the part of its aspect ratio is kept of an image of more than
            ``MOST_PIXELS``. Default: all of it.
    """
    from PIL import Image
    from PIL.Image import Transpose

    image.load()
    turn = _turn(image)
    box, factor = (0, 0, *image.size), 1
    if image.width * image.height > MOST_PIXELS:
        if fitting is not None and fitting.fit == "crop":
            height, width = fitting.size
            if turn in (Transpose.TRANSPOSE, Transpose.TRANSVERSE, Transpose.ROTATE_90, Transpose.ROTATE_270):
                height, width = width, height
            left, top, right, bottom = _centre(image.size, (width, height))
            box = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
        factor = shrinking((box[2] - box[0]) * (box[3] - box[1]))
    black, white = (fitting and fitting.depth) or (0.0, _white(image))
    if factor == 1 and box == (0, 0, *image.size) and image.width * image.height <= _BLOCK:
        whole = _opaque(image, black, white)
        whole.info.clear()  # so that nobody turns it again
        return whole if turn is None else whole.transpose(turn)
    upright = Image.new("RGB", (math.ceil((box[2] - box[0]) / factor), math.ceil((box[3] - box[1]) / factor)))
    for left, top, right, bottom in _blocks(box, factor):
        part = _opaque(image.crop((left, top, right, bottom)), black, white)
        upright.paste(part.reduce(factor), ((left - box[0]) // factor, (top - box[1]) // factor))
    return upright if turn is None else upright.transpose(turn)


def shrinking(num_pixels: int) -> int:
    """The smallest whole factor that, dividing the sides, brings an image to at most ``MOST_PIXELS``."""
    return max(1, math.ceil(math.sqrt(num_pixels / MOST_PIXELS)))


def seen_sides(image_size: tuple[int, int], fitting: Fitting | None) -> tuple[float, float]:
    """The smallest (width, height) in pixels of what a network sees of an image, upright or rotated; or all of it."""
    if fitting is None or fitting.fit != "crop":
        return image_size
    boxes = [_centre(image_size, shape) for shape in (fitting.size, fitting.size[::-1])]
    return min(box[2] - box[0] for box in boxes), min(box[3] - box[1] for box in boxes)


def _centre(found: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of the largest centred part with ``wanted`` shape, all (width, height), as PIL.ImageOps.fit has it."""
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
    """Split a box into boxes of about ``_BLOCK`` pixels; except at its end, their sides are multiples of ``factor``."""
    wide = min(box[2] - box[0], _BLOCK // factor)
    columns = math.ceil(wide / factor) * factor
    rows = max(1, _BLOCK // (columns * factor)) * factor
    for top in range(box[1], box[3], rows):
        for left in range(box[0], box[2], columns):
            yield left, top, min(left + columns, box[2]), min(top + rows, box[3])


def _turn(image: Image) -> Transpose | None:
    """The operation that makes an image upright; None if it is upright, or if its EXIF data is damaged."""
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


def _opaque(image: Image, black: float, white: float) -> Image:
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        scaled = np.rint((_depths(image) - black) * (255.0 / (white - black)))
        return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        paper = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, with_alpha).convert("RGB")
    return image.convert("RGB")


def _depths(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _white(image: Image) -> float:
    """The pixel value of white. It may differ from 255 in grey of more than 8 bits, which Pillow would clip."""
    if not image.mode.startswith(("I", "F")):
        return 255.0
    if image.mode.startswith("I;16"):
        return 65_535.0
    peak = max(float(_depths(image.crop(block)).max()) for block in _blocks((0, 0, *image.size), 1))
    if image.mode == "F":
        # Floats have no fixed range; 0..1 and 0..255 are usual. If the maximum is larger, it is white.
        return 1.0 if peak <= 1.0 else 255.0 if peak <= 255.0 else peak
    # Mode I usually holds 16 bits, even if the image is dark. If the maximum is larger, it is white.
    return max(65_535.0, peak)
