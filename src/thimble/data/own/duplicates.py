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
Groups = tuple[tuple[int, ...], ...]

_TRAIN = PARTS.index("train")
_MANY = 0.2
"""The largest fraction of the training images that is left out because of images that only look the same. Beyond it,
they are frames of one video rather than copies: nobody expects to lose most of a dataset without being asked."""
_NOT_DROPPED = (
    "{share:.0%} of the training images look the same as others in another part or under another label, too many to"
    " leave out: they are used, and accuracies may be too high; put frames of one video, or photos of one thing, in one"
    " group (--group)."
)
_MANY_COPIES = "{share:.0%} of the training images are also in another part, or under another label."


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
            those that train. If images that only look the same would cost more than a fifth of the training images,
            only equal ones are kept out. A class keeps its training images if it would lose all.
        notes: remarks for the user, each one sentence.
        examples: two images that are the same, in different "parts" and under different "labels", if there are any.
    """

    groups: Groups
    near: tuple[bool, ...]
    across: tuple[int, ...]
    conflicting: tuple[int, ...]
    dropped: Mask
    notes: tuple[str, ...]
    examples: dict[str, tuple[int, int]]

    def refuse(self, names: Sequence[str]) -> None:
        """Raise UserError if there are duplicates across parts or under several labels."""
        for number, what, where in (
            (len(self.across), "parts", "in several parts"),
            (len(self.conflicting), "labels", "under several labels"),
        ):
            if number:
                one, other = (shown(names[index]) for index in self.examples[what])
                raise UserError(
                    f"--duplicates refuse: {_counted(number, 'group')} of the same images {where}, such as {one} and"
                    f" {other}: expected none; thimble data shows them, and --duplicates drop trains without them"
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
    alike: Labels,
    content: Sequence[str],
    labels: Labels,
    parts: Sequence[Part],
    names: Sequence[str],
    *,
    drop: bool = True,
) -> Duplicates:
    """Find the groups of images that are the same.

    Args:
        alike: int64 (P, 3), the pairs that look the same, see ``look_alikes``.
        content: the SHA-256 of each image's file.
        labels: int64 (N,).
        parts: each image's part.
        names: for the notes.
        drop: for the notes: whether the images in ``dropped`` are left out.
    """
    pairs = alike.tolist()
    exact = [*_equal_files(content), *((one, other) for one, other, equal in pairs if equal)]
    equal_groups = _groups(exact, len(content))
    groups = _groups([*exact, *((one, other) for one, other, _ in pairs)], len(content))
    whole = set(equal_groups)
    near = tuple(group not in whole for group in groups)
    places = np.array([PARTS.index(part) for part in parts], np.int64)
    dropped, fewer = (_dropped(chosen, labels, places) for chosen in (groups, equal_groups))
    lost, least = _share(dropped, places), _share(fewer, places)
    notes = []
    if lost > _MANY and lost > least:
        dropped = fewer
        notes.append(_NOT_DROPPED.format(share=lost - least))
    if least > _MANY:
        notes.append(_MANY_COPIES.format(share=least))
    spared = _spare_classes(dropped, labels, places)
    if spared and drop:
        notes.append(
            f"{_counted(len(spared), 'class', 'es')} would have no training images without their duplicates, such as"
            f" that of {shown(names[spared[0]])}: they are used."
        )
    across, conflicting = _mixed(groups, places), _mixed(groups, labels)
    examples = {}
    for what, which, values in (("labels", conflicting, labels), ("parts", across, places)):
        if which:
            examples[what] = pair = _differing(groups[which[0]], values)
            kinds, chosen = [near[place] for place in which], [groups[place] for place in which]
            example = " and ".join(f"{shown(names[index])} ({parts[index]})" for index in pair)
            notes.insert(0, f"{_told(kinds, what)}, such as {example}: {_fate(chosen, dropped, places, drop)}.")
    return Duplicates(groups, near, across, conflicting, dropped, tuple(notes), examples)


def _equal_files(content: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of images whose files are equal: each with the first of its kind."""
    first: dict[str, int] = {}
    pairs = ((first.setdefault(digest, index), index) for index, digest in enumerate(content))
    return [(known, index) for known, index in pairs if known != index]


def _groups(pairs: Iterable[tuple[int, int]], count: int) -> Groups:
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


def _mixed(groups: Groups, values: Labels) -> tuple[int, ...]:
    """The places of the groups whose images do not all have the same value."""
    return tuple(place for place, group in enumerate(groups) if len({int(values[index]) for index in group}) > 1)


def _differing(group: Sequence[int], values: Labels) -> tuple[int, int]:
    """The first image of a group, and the first that has another value."""
    return group[0], next(index for index in group if values[index] != values[group[0]])


def _dropped(groups: Groups, labels: Labels, places: Labels) -> Mask:
    """The images that these groups keep out, bool (N,)."""
    dropped = np.zeros(len(places), bool)
    for members in groups:
        group = np.array(members)
        own = places[group]
        out = own < own.max()  # train < val < test
        if (labels[group] != labels[group[0]]).any():
            out |= own == _TRAIN
        dropped[group[out]] = True
    return dropped


def _share(dropped: Mask, places: Labels) -> float:
    """The fraction of the training images that is dropped."""
    training = places == _TRAIN
    return int((dropped & training).sum()) / max(1, int(training.sum()))


def _spare_classes(dropped: Mask, labels: Labels, places: Labels) -> list[int]:
    """Keep the training images of the classes that would lose all of them; return one image of each such class."""
    training = places == _TRAIN
    count = int(labels.max(initial=-1)) + 1
    before = np.bincount(labels[training], minlength=count)
    after = np.bincount(labels[training & ~dropped], minlength=count)
    spared = np.flatnonzero((before > 0) & (after == 0))
    dropped[training & np.isin(labels, spared)] = False
    return [int(np.flatnonzero(training & (labels == label))[0]) for label in spared.tolist()]


def _told(near: Sequence[bool], what: str) -> str:
    """How many groups of which kind are in several parts, or have several labels."""
    count, similar = len(near), sum(near)
    kind = "images that look the same" if similar == count else "equal images"
    some = f" ({similar:,} of them only look the same)" if 0 < similar < count else ""
    one = count == 1
    verb = ("is in" if one else "are in") if what == "parts" else "has" if one else "have"
    return f"{_counted(count, 'group')} of {kind}{some} {verb} several {what}"


def _fate(groups: Sequence[Sequence[int]], dropped: Mask, places: Labels, drop: bool) -> str:
    """Which images of some groups are left out."""
    if not drop:
        return "all are used (--duplicates keep)"
    members = np.array([index for group in groups for index in group])
    out = places[members[dropped[members]]]
    counts = [(int((out == place).sum()), word) for place, word in enumerate(("training", "validation"))]
    told = " and ".join(f"{number:,} {word}" for number, word in counts if number)
    if not told:
        return "all are used"
    return f"{told} {'image is' if len(out) == 1 else 'images are'} left out (--duplicates drop)"


def _counted(number: int, what: str, more: str = "s") -> str:
    return f"{number:,} {what}" + ("" if number == 1 else more)
