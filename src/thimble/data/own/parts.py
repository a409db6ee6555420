"""Decide which images train, which validate and which test, where the layout does not say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .listing import Entry, Part

PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Each image's part, and remarks for the user, each one sentence."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]


def split_parts(entries: Sequence[Entry], content: Sequence[str]) -> Split:
    """Put each image in a part."""
    parts: list[Part] = []
    for entry, digest in zip(entries, content, strict=True):
        share = int(digest[:8], 16) / 2**32
        parts.append(entry.part or ("test" if share < 0.15 else "val" if share < 0.3 else "train"))
    return Split(tuple(parts), ())
