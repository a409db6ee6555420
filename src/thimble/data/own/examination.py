"""Define ``Examination``, what is known of the user's images before training: parts, duplicates, what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thimble.errors import UserError
from thimble.system.names import shown

from .duplicates import Duplicates, find_duplicates
from .listing import PARTS, Listing, Part
from .parts import split_parts
from .settings import ImagesConfig

if TYPE_CHECKING:
    from .scan import Scan

Labels = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

LEFT_OUT = "left out"
"""The column of ``Examination.table`` for the duplicates that are not used."""


@dataclass(frozen=True, eq=False)
class Examination:
    """The images of a dataset after listing, scanning, splitting and the search for duplicates.

    Attributes:
        listing: what the layout says.
        scan: the readable images. All that follows is in the order of its entries.
        classes: the classes that have readable images, in the listing's order.
        labels: int64 (N,), indices into ``classes``.
        parts: each image's part.
        duplicates: groups of images that are the same.
        kept: bool (N,), False for images that no part uses because they are duplicates.
        notes: remarks for the user, each one sentence.
    """

    listing: Listing
    scan: Scan
    classes: tuple[str, ...]
    labels: Labels
    parts: tuple[Part, ...]
    duplicates: Duplicates
    kept: Mask
    notes: tuple[str, ...]

    def table(self) -> dict[str, Labels]:
        """The number of images of each class, int64 (num_classes,), by "train", "val", "test" and "left out"."""
        parts = np.asarray(self.parts)
        chosen = {part: (parts == part) & self.kept for part in PARTS} | {LEFT_OUT: ~self.kept}
        return {name: np.bincount(self.labels[mask], minlength=len(self.classes)) for name, mask in chosen.items()}

    def check(self) -> None:
        """Check that a classifier can be trained on these images and tested.

        Raises:
            UserError: there are fewer than two classes, a class has no training images, or there are no test images.
        """
        name, counts = shown(self.listing.title), self.table()
        if len(self.classes) < 2:
            raise UserError(
                f"{name} has images of {len(self.classes)} class ({', '.join(map(shown, self.classes))}):"
                " expected at least two; each class is a folder, or a value of the manifest's label column"
            )
        if not counts["train"].any():
            raise UserError(f"{name} has no training images: expected some in a folder train, or no parts at all")
        untrained = [self.classes[index] for index in np.flatnonzero(counts["train"] == 0)]
        if untrained:
            raise UserError(
                f"{name} has no training images of {_listed(untrained)}: expected some of each class; add some, or"
                " name the classes to use with --classes"
            )
        if not counts["test"].any():
            raise UserError(f"{name} has no test images: expected at least two images or groups of each class")

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that JSON can hold; names stay as they are."""
        scan, listing = self.scan, self.listing
        names = [entry.name for entry in scan.entries]
        table = {name: counts.tolist() for name, counts in self.table().items()}
        return {
            "title": listing.title,
            "layout": listing.layout,
            "num_images": len(scan.entries),
            "sha256": scan.checksum,
            "classes": {name: {part: table[part][index] for part in table} for index, name in enumerate(self.classes)},
            "empty_classes": [name for name in listing.classes if name not in set(self.classes)],
            "totals": {name: sum(counts) for name, counts in table.items()},
            "input": {
                "size": list(scan.fitting.size),
                "channels": scan.fitting.channels,
                "fit": scan.fitting.fit,
                "depth": None if scan.fitting.depth is None else list(scan.fitting.depth),
                "reasons": dict(scan.reasons),
            },
            "sizes": _sizes(scan),
            "skipped": dict(listing.skipped),
            "unreadable": dict(scan.unreadable),
            "missing": list(listing.missing),
            "duplicates": self.duplicates.to_dict(names)
            | {"left_out": [names[index] for index in np.flatnonzero(~self.kept).tolist()]},
            "notes": list(self.notes),
        }


def examine(listing: Listing, scan: Scan, config: ImagesConfig) -> Examination:
    """Split the scanned images into parts, look for duplicates, and decide which images are used.

    Raises:
        UserError: there are duplicates across parts or under two labels, and ``config.duplicates`` is "refuse".
    """
    found = {entry.label for entry in scan.entries}
    classes = tuple(name for name in config.classes or listing.classes if name in found)
    places = {name: index for index, name in enumerate(classes)}
    labels = np.fromiter((places[entry.label] for entry in scan.entries), np.int64, len(scan.entries))
    split = split_parts(scan.entries, scan.content)
    names = [entry.name for entry in scan.entries]
    drop = config.duplicates == "drop"
    duplicates = find_duplicates(scan.alike, scan.content, labels, split.parts, names, drop=drop)
    if config.duplicates == "refuse":
        duplicates.refuse(names)
    kept = ~duplicates.dropped if drop else np.ones(len(names), bool)
    empty = [name for name in listing.classes if name not in found]
    notes = [f"No readable images in {_listed(empty)}: left out of the classes."] if empty else []
    return Examination(
        listing,
        scan,
        classes,
        labels,
        split.parts,
        duplicates,
        kept,
        (*listing.notes, *notes, *split.notes, *duplicates.notes),
    )


def _listed(names: list[str], most: int = 5) -> str:
    """The class or classes of these names, for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    word = "class" if len(names) == 1 else f"{len(names)} classes:"
    return f"{word} {', '.join(shown(name) for name in names[:most])}{more}"


def _sizes(scan: Scan) -> Mapping[str, Any]:
    """The smallest, median and largest width and height of the originals, in pixels."""
    if not len(scan.sizes):
        return {}
    ends = {"smallest": scan.sizes.min(0), "median": np.median(scan.sizes, 0), "largest": scan.sizes.max(0)}
    return {name: [int(side) for side in value] for name, value in ends.items()}
