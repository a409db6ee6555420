"""Draw explanations as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from thimble.system.extras import needed
from thimble.system.names import shortened, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray
from .explanation import Explanation

_NAME_LENGTH = 30
"""Longest class name drawn, in characters: a row has up to two, and must leave room for the file name."""
_GAP, _HEADER, _CAPTION, _COLUMN = 12, 56, 34, 256
"""Sizes on the page, in pixels; a column is always wide enough for its title."""


def page_size(pictures: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (width, height) of the page that ``draw`` makes, in pixels, from the (width, height) of each picture."""
    column = max(_COLUMN, *(width for width, _ in pictures))
    return 3 * column + 4 * _GAP, _HEADER + sum(height + _CAPTION for _, height in pictures)


def draw(explanations: Sequence[Explanation]) -> Image.Image:
    """Draw a page with one row per explanation: the picture, Grad-CAM on it, integrated gradients on a grey copy."""
    page = Image.new("RGB", page_size([explanation.picture.size for explanation in explanations]), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(17)
    column = (page.width - 4 * _GAP) // 3
    middles = [_GAP + place * (column + _GAP) + column / 2 for place in range(3)]
    titles = (("image", "what the network sees"), ("Grad-CAM", "bright: for it"))
    small = ImageFont.load_default(13)
    for middle, (title, key) in zip(
        middles, (*titles, ("integrated gradients", "red: for it, blue: against")), strict=True
    ):
        pen.text((middle, 19), title, fill="black", font=font, anchor="mm")
        pen.text((middle, 41), key, fill="#555555", font=small, anchor="mm")
    top = _HEADER
    for explanation in explanations:
        picture = explanation.picture
        panels = (picture, heat(picture, explanation.grad_cam), _signs(picture, explanation.integrated_gradients))
        for middle, panel in zip(middles, panels, strict=True):
            page.paste(panel, (round(middle - panel.width / 2), top))
        text = f"{shortened(explanation.class_name, _NAME_LENGTH)}, {explanation.probability:.1%}"
        if explanation.predicted != explanation.class_name:
            text += f" (predicted: {shortened(explanation.predicted, _NAME_LENGTH)})"
        room = page.width - 4 * _GAP - pen.textlength(text, font)
        name = _fitting(shown(Path(explanation.image).name), lambda part: pen.textlength(part, font), room)
        baseline = top + picture.height + _CAPTION / 2
        pen.text((_GAP, baseline), text, fill="black", font=font, anchor="lm")
        pen.text((page.width - _GAP, baseline), name, fill="#555555", font=font, anchor="rm")
        top += picture.height + _CAPTION
    return page


def heat(picture: Image.Image, values: Tensor) -> Image.Image:
    """Draw Grad-CAM as a heat map on a picture of any size."""
    with needed("matplotlib", by="drawing an explanation", extra="report"):
        from matplotlib import colormaps  # here, because the import takes half a second

    strength = _enlarged(values, picture.size, Image.Resampling.BICUBIC).clip(0, 1)
    return _mixed(np.asarray(picture, np.float32), colormaps["inferno"](strength)[..., :3], 0.25 + 0.5 * strength)


def _signs(picture: Image.Image, gradients: Tensor) -> Image.Image:
    """Draw integrated gradients on a grey copy of the picture: red supports the class, blue speaks against it."""
    values = _enlarged(gradients, picture.size, Image.Resampling.NEAREST)
    gray = np.asarray(picture.convert("L").convert("RGB"), np.float32)
    colors = np.where(values[..., None] > 0, (0.84, 0.09, 0.11), (0.10, 0.35, 0.80))
    # A paler grey, so that both colours stand out; the square root, so that the many weak pixels are visible too.
    return _mixed(255 - (255 - gray) * 0.6, colors, np.sqrt(np.abs(values)) * 0.9)


def _mixed(base: NDArray[Any], colors: NDArray[Any], opacity: NDArray[Any]) -> Image.Image:
    mixed = base * (1 - opacity[..., None]) + 255 * colors * opacity[..., None]
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _enlarged(values: Tensor, size: tuple[int, int], method: Image.Resampling) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(values.numpy()).resize(size, method), np.float32)


def _fitting(text: str, length: Callable[[str], float], room: float) -> str:
    """Cut the beginning of a text that does not fit."""
    cut = 0
    while length(text[cut:]) > room and cut < len(text) - 1:
        cut += 1
    return "…" + text[cut + 1 :] if cut else text
