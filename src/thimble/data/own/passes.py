"""Decode a dataset's images into a file, as often as it takes to fit them as they demand: nearly always once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from thimble.data.pixels import Fitting
from thimble.data.rows import mapped
from thimble.errors import UserError
from thimble.system.names import shown

from . import workers
from .cache import ENTRIES, IMAGES, Record, Store
from .decoding import Decode, Outcome
from .facts import COLOURED
from .fitting_rules import given_fitting
from .likeness import look_alikes
from .listing import Listing
from .settings import ImagesConfig
from .survey import Indices, Knowledge, chunks, survey

_MOST_PASSES = 6

Images = np.ndarray[Any, np.dtype[np.uint8]]


class Scanner:
    """Makes the scan of a dataset.

    Args:
        listing: the files, at least one.
        config: how to fit the images.
        fitting: the fitting that a trained model demands, if any.
        store: keeps the scan, and has earlier ones.
    """

    def __init__(self, listing: Listing, config: ImagesConfig, fitting: Fitting | None, store: Store) -> None:
        self._listing, self._config, self._given, self._store = listing, config, fitting, store
        self._knowledge = Knowledge.nothing(len(listing.entries))
        self._earlier = [_Earlier(record, listing) for record in store.earlier()]
        for earlier in self._earlier:
            earlier.tell(self._knowledge)

    def run(self, *, progress: bool = False) -> Record:
        """Decode and store the images.

        Args:
            progress: show a progress bar on stderr, if it is a terminal.

        Raises:
            UserError: no image is readable.
            RunError: the cache cannot be written.
        """
        if self._given is None:
            survey(self._listing, self._knowledge, self._config)
        fitting, _ = self._chosen()
        for _ in range(_MOST_PASSES):
            count = len(self._listing.entries) - len(self._knowledge.unreadable)
            with self._store.writing(count * fitting.channels * fitting.size[0] * fitting.size[1]) as temporary:
                self._pass(fitting, temporary / IMAGES, progress)
                wanted, reasons = self._chosen()
                if wanted == fitting:
                    return self._store.keep(temporary, self._record(fitting, reasons, temporary))
            fitting = wanted
        raise UserError(f"{shown(self._listing.title)} keeps changing: expected images that stay as they are")

    def _chosen(self) -> tuple[Fitting, dict[str, str]]:
        if len(self._knowledge.unreadable) == len(self._listing.entries):
            self._refuse()
        if self._given is not None:
            return self._given, given_fitting(self._given)
        return self._knowledge.choose(self._config) or self._refuse()

    def _refuse(self) -> NoReturn:
        index, reason = next(iter(sorted(self._knowledge.unreadable.items())))
        raise UserError(
            f"{shown(self._listing.title)}: none of {len(self._listing.entries):,} files can be read, such as"
            f" {shown(self._listing.entries[index].name)}, which {shown(reason)}: expected image files"
        )

    def _pass(self, fitting: Fitting, path: Path, progress: bool) -> None:
        """Write the readable images, one after the other; stop early if the fitting turns out wrong."""
        from tqdm import tqdm

        entries = self._listing.entries
        base = max(
            (earlier for earlier in self._earlier if earlier.record.fitting == fitting),
            key=lambda earlier: int((earlier.rows >= 0).sum()),
            default=None,
        )
        if base is not None and base.link(path):
            return
        rows = np.full(len(entries), -1) if base is None else base.rows
        readable = [index for index in range(len(entries)) if index not in self._knowledge.unreadable]
        pieces = chunks(np.array(readable), self._knowledge.facts)
        wanted = [piece[rows[piece] < 0] for piece in pieces]
        tasks = [[entries[index].name for index in new] for new in wanted if len(new)]
        known = frozenset(base.by_digest) if base is not None and tasks else frozenset()
        bar = tqdm(
            desc="scanning", total=len(readable), unit=" images", ncols=79, leave=False, delay=0.5,
            disable=None if progress else True,
        )  # fmt: skip
        with (
            path.open("wb") as file,
            bar,
            closing(workers.run(Decode(self._listing.files, fitting, known), tasks)) as found,
        ):
            for piece, new in zip(pieces, wanted, strict=True):
                outcomes = dict(zip(new.tolist(), next(found), strict=True)) if len(new) else {}
                file.write(self._pixels(piece, outcomes, base, fitting).data)
                if self._refuted(fitting, new):
                    return
                bar.update(len(piece))

    def _pixels(
        self, piece: Indices, outcomes: Mapping[int, Outcome], base: _Earlier | None, fitting: Fitting
    ) -> Images:
        """The images of a piece that are readable, from their outcomes or from an earlier scan."""
        pixels = np.empty((len(piece), fitting.channels, *fitting.size), np.uint8)
        count = 0
        for index in piece.tolist():
            outcome = outcomes.get(index)
            if outcome is not None:
                self._knowledge.learn(index, outcome)
                if outcome.reason:
                    continue
            if outcome is not None and outcome.pixels is not None:
                pixels[count] = outcome.pixels
            elif base is not None:
                row = base.rows[index] if outcome is None else base.by_digest[outcome.digest]
                pixels[count] = base.record.images[row]
                self._knowledge.facts[index] = base.readable["facts"][row]
            count += 1
        return pixels[:count]

    def _refuted(self, fitting: Fitting, new: Indices) -> bool:
        """Whether grey images have turned out to have colour."""
        open_choice = self._given is None and self._config.channels is None and fitting.channels == 1
        return open_choice and bool((self._knowledge.facts["colour"][new] == COLOURED).any())

    def _record(self, fitting: Fitting, reasons: dict[str, str], folder: Path) -> Record:
        knowledge = self._knowledge
        entries = np.zeros(len(self._listing.entries), ENTRIES)
        entries["facts"], entries["digest"], entries["kept"] = knowledge.facts, knowledge.digests, True
        entries["kept"][list(knowledge.unreadable)] = False
        digest = hashlib.sha256()
        for entry, content, kept in zip(self._listing.entries, knowledge.digests, entries["kept"], strict=True):
            if kept:
                label = f"{entry.label}\0{entry.part or ''}\0".encode("utf-8", "surrogatepass")
                digest.update(label + content.tobytes())
        shape = (int(entries["kept"].sum()), fitting.channels, *fitting.size)
        alike = look_alikes(mapped(folder / IMAGES, shape))
        nothing = np.empty(0, np.uint8)
        return Record(folder, fitting, reasons, digest.hexdigest(), knowledge.unreadable, entries, nothing, alike)


class _Earlier:
    """An earlier scan, for a new listing.

    Attributes:
        record: the scan.
        readable: the ``ENTRIES`` of its images.
        rows: int64 (N,), for each file of the new listing its image in the scan; -1 if it is new or has changed.
    """

    def __init__(self, record: Record, listing: Listing) -> None:
        self.record, self.readable = record, record.entries[record.entries["kept"]]
        self.rows = np.full(len(listing.entries), -1)
        if listing.place:  # otherwise it may be another dataset's, whose signatures say nothing
            try:
                places = record.names()
            except Exception:  # damaged: the images are decoded
                places = {}
            found = (
                places.get((entry.name, entry.signature), -1) if entry.signature else -1 for entry in listing.entries
            )
            indices = np.fromiter(found, np.int64, len(listing.entries))
            images = np.cumsum(record.entries["kept"]) - 1
            self.rows = np.where(indices >= 0, images[indices], -1)

    @cached_property
    def by_digest(self) -> dict[bytes, int]:
        """Each content's image in the scan."""
        return {digest.tobytes(): row for row, digest in enumerate(self.readable["digest"])}

    def tell(self, knowledge: Knowledge) -> None:
        """Tell what is known of the files that have not changed."""
        new = (knowledge.facts["width"] == 0) & (self.rows >= 0)
        knowledge.facts[new] = self.readable["facts"][self.rows[new]]
        knowledge.digests[new] = self.readable["digest"][self.rows[new]]

    def link(self, path: Path) -> bool:
        """Give the scan's images another name, if they are just those of the new listing."""
        if not np.array_equal(self.rows, np.arange(len(self.record.images))):
            return False
        try:
            os.link(self.record.folder / IMAGES, path)
        except OSError:
            return False
        return True
