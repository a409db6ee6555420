"""Find images that are the same, exactly or nearly, and decide which of them training does without.

Images are the same if their files are, or the pixels that the network sees, or if they look the same: see
``likeness``. A group of them matters where it is in several parts, because a test image that was trained on measures
nothing, and where it has several labels, because all but one are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thimble.errors import UserError
from thimble.system.names import shown

from .listing import PARTS, Part

Labels = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_MANY = 0.2
"""The fraction of the training images from which on so many copies are a sign of missing groups."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Groups of images that are the same.

    Attributes:
        groups: each group's images, as ascending indices; no image is in two.
        near: for each group, whether some of its images only look the same.
        across: the places in ``groups`` of those with images in several parts.
        conflicting: the places in ``groups`` of those under several labels.
        dropped: bool (N,), the images that ``--duplicates drop`` keeps out: of a group in several parts, those that
            train if others validate or test, and those that validate if others test; of a group under several labels,
            those that train. A class keeps its training images if it would lose all.
        notes: remarks for the user, each one sentence.
    """

    groups: tuple[tuple[int, ...], ...]
    near: tuple[bool, ...]
    across: tuple[int, ...]
    conflicting: tuple[int, ...]
    dropped: Mask
    notes: tuple[str, ...]

    def refuse(self, names: Sequence[str]) -> None:
        """Raise UserError if there are duplicates across parts or under several labels."""
        for places, where in ((self.across, "in several parts"), (self.conflicting, "under several labels")):
            if places:
                one, other = self.groups[places[0]][:2]
                raise UserError(
                    f"--duplicates refuse: {_counted(len(places), 'group')} of the same images {where}, such as"
                    f" {shown(names[one])} and {shown(names[other])}: expected none; thimble data shows them, and"
                    " --duplicates drop trains without them"
                )

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return {
            "groups": [[names[index] for index in group] for group in self.groups],
            "near": list(self.near),
            "across_parts": list(self.across),
            "under_several_labels": list(self.conflicting),
            "left_out": [names[index] for index in np.flatnonzero(self.dropped).tolist()],
        }


def find_duplicates(
    alike: Labels, content: Sequence[str], labels: Labels, parts: Sequence[Part], names: Sequence[str]
) -> Duplicates:
    """Find the groups of images that are the same.

    Args:
        alike: int64 (P, 3), the pairs that look the same, see ``look_alikes``.
        content: the SHA-256 of each image's file.
        labels: int64 (N,).
        parts: each image's part.
        names: for the notes.
    """
    exact = [*_equal_files(content), *((one, other) for one, other, equal in alike.tolist() if equal)]
    similar = [(one, other) for one, other, equal in alike.tolist() if not equal]
    groups = _groups([*exact, *similar], len(content))
    similarly = {index for pair in similar for index in pair}
    whole = set(_groups(exact, len(content)))
    near = tuple(group not in whole and bool(similarly.intersection(group)) for group in groups)
    places = np.array([PARTS.index(part) for part in parts], np.int64)
    across = tuple(place for place, group in enumerate(groups) if len({int(places[each]) for each in group}) > 1)
    conflicting = tuple(place for place, group in enumerate(groups) if len({int(labels[each]) for each in group}) > 1)
    dropped = _dropped(groups, across, conflicting, places)
    spared = _spare_classes(dropped, labels, places)
    notes = _notes(groups, near, across, conflicting, dropped, places, names)
    if spared:
        notes.append(f"{_counted(spared, 'class', 'es')} would have no training images without their duplicates: kept.")
    return Duplicates(groups, near, across, conflicting, dropped, tuple(notes))


def _equal_files(content: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of images whose files are equal: each with the first of its kind."""
    first: dict[str, int] = {}
    pairs = ((first.setdefault(digest, index), index) for index, digest in enumerate(content))
    return [(known, index) for known, index in pairs if known != index]


def _groups(pairs: Iterable[tuple[int, int]], count: int) -> tuple[tuple[int, ...], ...]:
    """The connected images, ascending, in the order of the first of each group."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = np.array(list(pairs), np.int64).reshape(-1, 2)
    if not len(ends):
        return ()
    graph = coo_matrix((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), (count, count))
    _, component = connected_components(graph, directed=False)
    members: dict[int, list[int]] = {}
    for index in np.unique(ends).tolist():
        members.setdefault(int(component[index]), []).append(index)
    return tuple(sorted(tuple(group) for group in members.values()))


def _dropped(
    groups: Sequence[tuple[int, ...]], across: Sequence[int], conflicting: Sequence[int], places: Labels
) -> Mask:
    dropped = np.zeros(len(places), bool)
    for place in across:
        group = np.array(groups[place])
        dropped[group] = places[group] < places[group].max()  # train < val < test
    for place in conflicting:
        group = np.array(groups[place])
        dropped[group[places[group] == PARTS.index("train")]] = True
    return dropped


def _spare_classes(dropped: Mask, labels: Labels, places: Labels) -> int:
    """Keep the training images of the classes that would lose all of them; return how many classes these are."""
    training = places == PARTS.index("train")
    count = int(labels.max(initial=-1)) + 1
    before = np.bincount(labels[training], minlength=count)
    after = np.bincount(labels[training & ~dropped], minlength=count)
    spared = np.flatnonzero((before > 0) & (after == 0))
    dropped[training & np.isin(labels, spared)] = False
    return len(spared)


def _notes(
    groups: Sequence[tuple[int, ...]],
    near: Sequence[bool],
    across: Sequence[int],
    conflicting: Sequence[int],
    dropped: Mask,
    places: Labels,
    names: Sequence[str],
) -> list[str]:
    """What the user should know: only of the groups that matter."""
    notes = []
    for which, where in ((across, "in several parts"), (conflicting, "under several labels")):
        if not which:
            continue
        alike = sum(near[place] for place in which)
        kind = (
            "look the same" if alike == len(which) else f"are equal ({alike:,} only look so)" if alike else "are equal"
        )
        group = groups[which[0]]
        one, other = group[0], group[1]
        if which is across:
            other = next(index for index in group if places[index] != places[one])
        notes.append(
            f"{_counted(len(which), 'group')} of images that {kind} {where}, such as {_placed(names, places, one)} and"
            f" {_placed(names, places, other)}."
        )
    training = places == PARTS.index("train")
    share = (dropped & training).sum() / max(1, training.sum())
    if share >= _MANY:
        notes.append(
            f"Copies are {share:.0%} of the training images: frames of one video, or photos of one thing, belong in one"
            " group (--group)."
        )
    return notes


def _placed(names: Sequence[str], places: Labels, index: int) -> str:
    return f"{shown(names[index])} ({PARTS[int(places[index])]})"


def _counted(number: int, what: str, more: str = "s") -> str:
    return f"{number:,} {what}" + ("" if number == 1 else more)
