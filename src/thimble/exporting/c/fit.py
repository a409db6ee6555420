"""Describe for ``fit.c.j2`` how a camera's frame becomes the network's image; see ``thimble.data.pixels``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from thimble.data.pixels import PADDING
from thimble.exporting.integer_graph import Feature

STACK_BYTES = 1_024
"""An upper bound, which the tests check with gcc; the caller's own buffers are not included."""

_HELP = {
    "crop": "the largest centred part of the network's aspect ratio, resized",
    "pad": f"the whole frame, resized without changing its aspect ratio, between borders of grey {PADDING}",
    "squash": "the whole frame, resized whatever its aspect ratio",
}
_LINES = 4  # FIT_LINES in the template


@dataclass(frozen=True)
class Fit:
    """What the template prints.

    Attributes:
        name: crop, pad or squash.
        help: the same in words.
        padding: the grey of the borders.
        longest: the longer side of the network's image in pixels.
        ram: the size of its static buffers in bytes.
        stack: the most stack that it takes, in bytes.
        ties: see ``odd_ties``, for the image's sides.
    """

    name: str
    help: str
    longest: int
    ram: int
    ties: dict[int, list[int]]
    padding: int = PADDING
    stack: int = STACK_BYTES


def fit_of(metadata: dict[str, Any], image: Feature) -> Fit | None:
    """The fit that a model's metadata name; None if they name none, because then nobody knows it.

    Args:
        metadata: a deployment's.
        image: the network's input.
    """
    name = metadata.get("fit")
    if name not in _HELP:
        return None
    longest = max(image.height, image.width)
    sides = sorted({image.height, image.width})
    return Fit(
        name=name,
        help=_HELP[name],
        longest=longest,
        ram=4 * (_LINES * longest * image.channels + longest),
        ties={side: odd_ties(side) for side in sides},
    )


def odd_ties(side: int) -> list[int]:
    """The whole numbers after which Python does not round a half to even, of a quotient that is multiplied by the side.

    A frame's shorter side becomes ``round(shorter / longer * side)`` pixels. If the true result is a half, the
    quotient's last bit may push it up or down; it depends only on the result and the side.
    """
    return [whole for whole in range(side) if round((2 * whole + 1) / (2 * side) * side) != round(whole + 0.5)]
