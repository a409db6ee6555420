"""Find images that are the same, exactly or nearly, above all across parts and under two labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thimble.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from .listing import Part

Labels = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Groups of images that are the same.

    Attributes:
        groups: each group's images, as ascending indices.
        across: the places in ``groups`` of those with images in several parts.
        conflicting: the places in ``groups`` of those under several labels.
        dropped: bool (N,), the images that ``--duplicates drop`` keeps out.
        notes: remarks for the user, each one sentence.
    """

    groups: tuple[tuple[int, ...], ...]
    across: tuple[int, ...]
    conflicting: tuple[int, ...]
    dropped: Mask
    notes: tuple[str, ...]

    def refuse(self, names: Sequence[str]) -> None:
        """Raise UserError if there are duplicates across parts or under two labels."""
        if self.across or self.conflicting:
            raise UserError(f"--duplicates refuse: {len(self.across)} groups are in several parts")

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return {
            "groups": [[names[index] for index in group] for group in self.groups],
            "across_parts": list(self.across),
            "under_two_labels": list(self.conflicting),
            "left_out": [names[index] for index in np.flatnonzero(self.dropped)],
        }


def find_duplicates(
    images: Tensor, content: Sequence[str], labels: Labels, parts: Sequence[Part], names: Sequence[str]
) -> Duplicates:
    """Find the groups of images that are the same."""
    found: dict[str, list[int]] = {}
    for index, digest in enumerate(content):
        found.setdefault(digest, []).append(index)
    groups = tuple(tuple(group) for group in found.values() if len(group) > 1)
    dropped = np.zeros(len(content), bool)
    across = tuple(place for place, group in enumerate(groups) if len({parts[index] for index in group}) > 1)
    conflicting = tuple(place for place, group in enumerate(groups) if len({int(labels[index]) for index in group}) > 1)
    for place in {*across, *conflicting}:
        for index in groups[place]:
            dropped[index] = parts[index] == "train"
    return Duplicates(groups, across, conflicting, dropped, ())
