"""Decode every image once, at training size, into a file in the user's cache that training maps into memory.

Nothing is written anywhere else. The files are read by ``Listing.files`` only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thimble.data.pixels import Fitting
from thimble.data.rows import mapped
from thimble.errors import UserError
from thimble.system.names import shown

from .cache import IMAGES, Record, Store
from .passes import Scanner
from .settings import ImagesConfig

if TYPE_CHECKING:
    from torch import Tensor

    from .listing import Entry, Listing

MOST_UNREADABLE = 10
"""So many files may be unreadable in any dataset, as long as they are fewer than half of it."""


@dataclass(frozen=True, eq=False)
class Scan:
    """The readable images of a dataset, decoded and fitted.

    Attributes:
        entries: the listing's entries that could be read, in its order; N of them.
        content: the SHA-256 of each file's bytes, in hexadecimal digits; of an image without a file, of its pixels.
        images: uint8 (N, channels, height, width), 0..255, mapped from the cache: pages are read when they are used.
        sizes: int32 (N, 2), (width, height) of the upright originals, in pixels.
        unreadable: the files that were left out, by name: the sentence that begins with the name and says why.
        fitting: how the images were fitted.
        reasons: for "image_size", "fit", "channels" and "depth", a sentence that says the choice and why.
        checksum: the SHA-256 of all labels, given parts and contents in their order, in hexadecimal digits: it
            identifies the dataset, wherever it is and whatever its files are called.
        alike: int64 (P, 3), the pairs of images that look the same, see ``look_alikes``.
    """

    entries: tuple[Entry, ...]
    content: tuple[str, ...]
    images: Tensor
    sizes: np.ndarray[Any, np.dtype[np.int32]]
    unreadable: dict[str, str]
    fitting: Fitting
    reasons: dict[str, str]
    checksum: str
    alike: np.ndarray[Any, np.dtype[np.int64]]


def scan(listing: Listing, config: ImagesConfig, *, progress: bool = False, fitting: Fitting | None = None) -> Scan:
    """Decode and fit a dataset's images, or find them in the cache.

    A scan of the same files with the same settings is found again by the files' names and signatures. If some files
    are new or changed, only those are decoded.

    Args:
        listing: the files.
        config: how to fit the images: where it leaves a choice, the images decide, see ``fitting_rules``.
        progress: show a progress bar on stderr, if it is a terminal.
        fitting: how to fit the images, if a trained model is to see them: it overrides all choices.

    Raises:
        UserError: there are no images, none is readable, or too many are unreadable: more than the fraction
            ``config.max_unreadable`` and more than ``MOST_UNREADABLE``, or half of them. A fraction of 0 allows none.
        RunError: the cache cannot be written, e.g. because the disk is full.
    """
    if not listing.entries:
        raise UserError(f"{shown(listing.title)} has no images: expected image files such as PNG or JPEG")
    store = Store(listing, config, fitting)
    record = store.find()
    if record is None:
        with store.alone():
            record = store.find() or Scanner(listing, config, fitting, store).run(progress=progress)
    _check_unreadable(listing, record.unreadable, config.max_unreadable)
    return _scan_of(listing, record)


def _check_unreadable(listing: Listing, unreadable: dict[int, str], most: float) -> None:
    """Refuse a dataset of which too much cannot be read, or is missing."""
    missing = len(listing.missing)
    count, found = len(listing.entries) + missing, len(unreadable) + missing
    allowed = max(math.floor(most * count), min(MOST_UNREADABLE, (count - 1) // 2) if most else 0)
    if found <= allowed:
        return
    if unreadable:
        index, reason = next(iter(sorted(unreadable.items())))
        example = f"{shown(listing.entries[index].name)}, which {shown(reason)}"
    else:
        example = f"{shown(listing.missing[0])}, which does not exist"
    raise UserError(
        f"{shown(listing.title)}: {found:,} of {count:,} files cannot be read, such as {example}: expected at most"
        f" {allowed:,}; repair or remove them, or allow more with --max-unreadable"
    )


def _scan_of(listing: Listing, record: Record) -> Scan:
    kept = record.entries["kept"]
    entries = listing.entries
    if not kept.all():
        entries = tuple(entry for entry, good in zip(entries, kept.tolist(), strict=True) if good)
    digits = record.entries["digest"][kept].tobytes().hex()
    facts = record.entries["facts"][kept]
    return Scan(
        entries,
        tuple(digits[start : start + 64] for start in range(0, len(digits), 64)),
        mapped(record.folder / IMAGES, record.images.shape),
        np.stack([facts["width"], facts["height"]], 1).astype(np.int32),
        {listing.entries[index].name: reason for index, reason in sorted(record.unreadable.items())},
        record.fitting,
        record.reasons,
        record.checksum,
        record.alike,
    )
