"""Learn what decides the fitting, from the headers of all images or of a sample; the decoding verifies it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from thimble.data.pixels import Fitting

from . import workers
from .decoding import Decode, Outcome, ReadHeaders
from .facts import COLOURED, UNKNOWN, Facts, unknown
from .fitting_rules import choose_fitting
from .listing import Listing
from .settings import ImagesConfig

NUM_SAMPLED = 1_000
"""Of more images than these, as many at even distances are looked at first. If the others are different, which shows
while they are decoded, all are decoded once more."""

_MOST_IN_TASK, _PIXELS_IN_TASK = 32, 8_000_000
"""Images in a task, and their pixels: few enough to keep all processes busy to the end, and enough to cost little."""

_NUM_TRIED = 64
_TRIAL = Fitting((32, 32))

Indices: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(eq=False)
class Knowledge:
    """What is known so far of the files of a listing.

    Attributes:
        facts: ``FACTS`` (N,).
        digests: uint8 (N, 32), the SHA-256 of each file's content; zeros if it is not known.
        unreadable: the reasons, by the file's index.
    """

    facts: Facts
    digests: np.ndarray[Any, np.dtype[np.uint8]]
    unreadable: dict[int, str] = field(default_factory=dict)

    @classmethod
    def nothing(cls, count: int) -> Knowledge:
        """What is known at first."""
        return cls(unknown(count), np.zeros((count, 32), np.uint8))

    def learn(self, index: int, outcome: Outcome) -> None:
        """Take over what an outcome says of a file."""
        if outcome.reason:
            self.unreadable[index] = outcome.reason
            return
        if outcome.facts:
            self.facts[index] = outcome.facts
        if outcome.digest:
            self.digests[index] = np.frombuffer(outcome.digest, np.uint8)

    def choose(self, config: ImagesConfig) -> tuple[Fitting, dict[str, str]] | None:
        """The fitting, see ``choose_fitting``, by the readable images known so far; None if there are none."""
        facts = self.facts[self.known()]
        return choose_fitting(facts, config) if len(facts) else None

    def known(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """bool (N,): the readable files whose facts are known."""
        known: np.ndarray[Any, np.dtype[np.bool_]] = self.facts["width"] > 0
        known[list(self.unreadable)] = False
        return known


def survey(listing: Listing, knowledge: Knowledge, config: ImagesConfig) -> None:
    """Learn enough to choose a fitting: if nothing is readable, everything is unreadable.

    Args:
        listing: the files.
        knowledge: what is known already; learns.
        config: if it says how many channels, colours do not matter.
    """
    count = len(listing.entries)
    sample = np.unique(np.linspace(0, count - 1, min(count, NUM_SAMPLED)).round().astype(np.int64))
    _read_headers(listing, knowledge, sample)
    if not knowledge.known().any():
        _read_headers(listing, knowledge, np.arange(count))
    if config.channels is None:
        _look_for_colour(listing, knowledge)


def chunks(indices: Indices, facts: Facts) -> list[Indices]:
    """Indices in pieces for tasks, by the mean size of the images, as far as it is known."""
    sizes = facts["width"].astype(np.int64) * facts["height"]
    mean = sizes[sizes > 0].mean() if sizes.any() else 1
    length = int(np.clip(_PIXELS_IN_TASK / mean, 1, _MOST_IN_TASK))
    return [indices[start : start + length] for start in range(0, len(indices), length)]


def _read_headers(listing: Listing, knowledge: Knowledge, indices: Indices) -> None:
    new = np.array([index not in knowledge.unreadable for index in indices.tolist()], bool)
    pieces = chunks(indices[new & (knowledge.facts["width"][indices] == 0)], knowledge.facts)
    tasks = [[listing.entries[index].name for index in piece] for piece in pieces]
    with closing(workers.run(ReadHeaders(listing.files), tasks)) as found:
        for piece, outcomes in zip(pieces, found, strict=True):
            for index, outcome in zip(piece.tolist(), outcomes, strict=True):
                knowledge.learn(index, outcome)


def _look_for_colour(listing: Listing, knowledge: Knowledge) -> None:
    """Decode some images that may have colour, until one has."""
    known = knowledge.known()
    if (knowledge.facts["colour"][known] == COLOURED).any():
        return
    unsure = np.flatnonzero(known & (knowledge.facts["colour"] == UNKNOWN))
    decode = Decode(listing.files, _TRIAL)
    for index in unsure[:: max(1, len(unsure) // _NUM_TRIED)].tolist():
        (outcome,) = decode([listing.entries[index].name])
        knowledge.learn(index, outcome)
        if knowledge.facts["colour"][index] == COLOURED:
            return
