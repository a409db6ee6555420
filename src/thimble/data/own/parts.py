"""Decide by hashes which images train, which validate and which test, where the layout does not say so.

An image's hash is a number in 0..1. Below 0.15 it is a test image, below 0.3 a validation image. So an image's part
depends on nothing but its own content: adding, removing or renaming images moves none. No rule that looks at the other
images can promise this: if a part never changes when images are added, it is the part that the image has alone. The
price is that a class of n images gets 0.15 n of them give or take 0.36 times the root of n, not exactly 15%.

Only where a class would have nothing to train or test with, one of its images is moved: see ``_fill``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thimble.system.names import shown

from .listing import PARTS, Entry, Part

FEW_TEST_IMAGES = 10
"""With fewer test images, one image more or less changes a class's accuracy by 10 points or more."""

_TRAIN, _VAL, _TEST = range(3)
_SHARE = 0.15
"""The share of the test images, and that of the validation images."""
_SHARE_OF_GIVEN = 0.10
"""The share of the validation images where the test images were given: the training images were meant for training."""
_ENOUGH = {_TRAIN: 1, _TEST: 2, _VAL: 4}
"""The number of units (different images, or groups) from which on a class has this part."""

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Split:
    """Each image's part, and remarks for the user, each one sentence."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]


def split_parts(entries: Sequence[Entry], content: Sequence[str]) -> Split:
    """Put each image in a part.

    Parts that the layout gives stay. Without any, about 70% of the images train, 15% validate and 15% test. If only
    test images lack, about 15% of the training images, and of those without a part, become them; if only validation
    images lack, about 10%.

    Args:
        entries: the images; those of one group go to one part.
        content: the SHA-256 of each image's content, in hexadecimal digits; equal images go to one part.
    """
    if not entries:
        return Split((), ())
    parts = np.array([-1 if entry.part is None else PARTS.index(entry.part) for entry in entries], np.int64)
    names = sorted({entry.label for entry in entries})
    places = {name: index for index, name in enumerate(names)}
    labels = np.fromiter((places[entry.label] for entry in entries), np.int64, len(entries))
    pool = np.flatnonzero(parts <= _TRAIN)
    made = [part for part in (_TEST, _VAL) if not (parts == part).any()] if len(pool) else []
    notes = [*_about_given(parts, made), *_about_shared_groups(entries, parts)]
    parts[pool] = _TRAIN
    if made:
        units = _Units(entries, content, labels, pool)
        parts[pool] = units.split(made)[units.of_image]
        notes += units.notes(made, entries, names)
    notes += _about_few(parts, labels, names)
    return Split(tuple(PARTS[part] for part in parts.tolist()), tuple(notes))


class _Units:
    """What is put in a part as a whole: the images of one group, or with one content, in the order of their hashes.

    Args:
        entries: all images.
        content: their SHA-256.
        labels: int64 (N,).
        pool: int64 (P,), the images to split.
    """

    def __init__(self, entries: Sequence[Entry], content: Sequence[str], labels: Numbers, pool: Numbers) -> None:
        chosen = pool.tolist()
        hashes = _hashes(content[index] for index in chosen)
        self.grouped = np.array([entries[index].group is not None for index in chosen])
        if self.grouped.any():
            groups = [entries[chosen[place]].group or "" for place in np.flatnonzero(self.grouped)]
            known = {group: hashlib.sha256(group.encode(errors="surrogatepass")).hexdigest() for group in set(groups)}
            hashes[self.grouped] = _hashes(known[group] for group in groups)
        self.pool, self.labels = pool, labels[pool]
        # The units are numbered in the order of their hashes, so that a class's pairs below are in this order too.
        self.hashes, self.first, self.of_image, self.sizes = np.unique(
            hashes, return_index=True, return_inverse=True, return_counts=True
        )
        self.large = self.sizes > max(_SHARE * len(pool), 1) if self.grouped.any() else np.zeros(len(self.sizes), bool)
        count = len(self.hashes)
        pairs = np.unique(self.labels * count + self.of_image)
        self.pair_class, self.pair_unit = pairs // count, pairs % count
        self.by_unit = np.argsort(self.pair_unit, kind="stable")
        self.num_classes = int(self.labels.max()) + 1
        self.moved: dict[int, list[int]] = {_TRAIN: [], _TEST: [], _VAL: []}
        self.lacking: dict[int, list[int]] = {_TRAIN: [], _TEST: [], _VAL: []}

    def split(self, made: Sequence[int]) -> Numbers:
        """Each unit's part, int64 (U,)."""
        share = self.hashes / 2.0**64
        parts = np.full(len(share), _TRAIN, np.int64)
        if _TEST in made:
            parts[share < _SHARE] = _TEST
        if _VAL in made:
            width = _SHARE if _TEST in made else _SHARE_OF_GIVEN
            parts[(share >= _SHARE) & (share < _SHARE + width)] = _VAL
        parts[self.large] = _TRAIN  # as a test part it would be too large, and leave too little to train on
        self.parts = parts
        self.counts = np.bincount(self.pair_class * 3 + parts[self.pair_unit], minlength=3 * self.num_classes)
        self.counts = self.counts.reshape(self.num_classes, 3)
        for part in (_TRAIN, *made):
            self._fill(part)
        return parts

    def _fill(self, part: int) -> None:
        """Give each class without a unit in a part one, if it has enough: the unit nearest to it by its hash.

        For test and validation that is the smallest hash, for training the largest. One unit must remain to train on,
        and two where validation images are taken. When images are added to a class, such a unit can move again; but no
        image of a class that had all parts by hash moves.
        """
        enough = self.counts.sum(1) >= _ENOUGH[part]
        empty = self.counts[:, part] == 0
        self.lacking[part] += np.flatnonzero(empty & ~enough & (self.counts.sum(1) > 0)).tolist()
        for label in np.flatnonzero(empty & enough).tolist():
            if self.counts[label, part]:  # filled by a unit that was moved for another class
                continue
            start, end = np.searchsorted(self.pair_class, [label, label + 1])
            units = self.pair_unit[start:end]
            units = units[:: -1 if part == _TRAIN else 1]
            units = units[np.argsort(self.large[units], kind="stable")]  # a large group only if there is no other
            chosen = next((unit for unit in units.tolist() if self._may_move(unit, part)), None)
            if chosen is None:
                self.lacking[part].append(label)
                continue
            classes = self._classes(chosen)
            self.counts[classes, self.parts[chosen]] -= 1
            self.counts[classes, part] += 1
            self.parts[chosen] = part
            self.moved[part].append(label)

    def _may_move(self, unit: int, part: int) -> bool:
        """Whether all classes of a unit keep enough in the part that it leaves."""
        counts, origin = self.counts[self._classes(unit)], self.parts[unit]
        if part == _TRAIN:
            return True
        if origin == _TRAIN:
            return bool((counts[:, _TRAIN] > (1 if part == _TEST else 2)).all())
        return part == _TEST or bool((counts[:, _TEST] > 1).all())

    def _classes(self, unit: int) -> Numbers:
        start, end = np.searchsorted(self.pair_unit, [unit, unit + 1], sorter=self.by_unit)
        return self.pair_class[self.by_unit[start:end]]

    def notes(self, made: Sequence[int], entries: Sequence[Entry], names: Sequence[str]) -> list[str]:
        """What the user should know of the parts that were made."""
        grouped, notes = bool(self.grouped.any()), []
        unit, unit_s = ("group", "groups") if grouped else ("image", "images")
        if grouped and len(self.hashes) == 1:
            name = shown(entries[int(self.pool[0])].group or "")
            return [f"All images are in one group, {name}: none can test or validate; choose smaller groups."]
        if grouped:
            count = len({entries[index].group for index in self.pool if entries[index].group is not None})
            notes.append(
                f"The images of a group stay together: {_counted(count, 'group')} divided by the hashes of their names."
            )
        if self.large.any():
            largest = int(self.sizes.argmax())
            name = shown(entries[int(self.pool[self.first[largest]])].group or "")
            share, one = self.sizes[largest] / len(self.pool), self.large.sum() == 1
            notes.append(
                f"{_counted(int(self.large.sum()), 'group')} larger than {_SHARE:.0%} of the images, such as {name}"
                f" with {share:.0%}: {'it trains' if one else 'they train'}, unless a class has no other group to test"
                " or validate with."
            )
        for part in made:
            if moved := self.moved[part]:
                notes.append(
                    f"By hash, {_classes_of(moved, names)} would have no {PARTS[part]} images: one {unit} of"
                    f" {'it' if len(moved) == 1 else 'each'}, that with the smallest hash, was moved there."
                )
            if lacking := self.lacking[part]:
                needed = f"{'two' if part == _TEST else 'four'} different {unit_s}"
                notes.append(f"No {PARTS[part]} images of {_classes_of(lacking, names)}: expected at least {needed}.")
        return notes


def _hashes(digests: Iterable[str]) -> Hashes:
    """The first 64 bits of each SHA-256 in hexadecimal digits, uint64 (N,)."""
    found = np.frombuffer(bytes.fromhex("".join(digest[:16] for digest in digests)), ">u8")
    return found.astype(np.uint64)


def _about_given(parts: Numbers, made: Sequence[int]) -> list[str]:
    if len(made) == 2:
        if (parts == _TRAIN).any():
            return ["Only training images were given: by hash, 15% of them validate and 15% test."]
        return ["No parts were given: by hash, 70% train, 15% validate and 15% test."]
    if made:
        share = _SHARE if made[0] == _TEST else _SHARE_OF_GIVEN
        what = "test" if made[0] == _TEST else "validate"
        return [f"No {PARTS[made[0]]} images were given: by hash, {share:.0%} of the training images {what}."]
    if not (parts <= _TRAIN).any():
        return ["No training images were given."]
    unplaced = int((parts == -1).sum())
    return [f"{_counted(unplaced, 'image')} without a part: used for training."] if unplaced else []


def _about_shared_groups(entries: Sequence[Entry], parts: Numbers) -> list[str]:
    seen: dict[str, set[int]] = {}
    for entry, part in zip(entries, parts.tolist(), strict=True):
        if entry.group is not None:
            seen.setdefault(entry.group, set()).add(max(part, _TRAIN))
    shared = [group for group, found in seen.items() if len(found) > 1]
    if not shared:
        return []
    number = _counted(len(shared), "group")
    return [f"{number} in more than one of the given parts, such as {shown(shared[0])}: they stay where they are."]


def _about_few(parts: Numbers, labels: Numbers, names: Sequence[str]) -> list[str]:
    """Warn of classes with few test images."""
    tested = np.bincount(labels[parts == _TEST], minlength=len(names))
    few = int((tested < FEW_TEST_IMAGES).sum())
    if not few or not tested.any():
        return []
    fewest = int(tested.argmin())
    return [
        f"{few:,} of {len(names):,} classes {'has' if few == 1 else 'have'} fewer than {FEW_TEST_IMAGES} test images,"
        f" class {shown(names[fewest])} the fewest ({tested[fewest]}): measures of such a class are uncertain."
    ]


def _classes_of(labels: Sequence[int], names: Sequence[str]) -> str:
    if len(labels) == 1:
        return f"class {shown(names[labels[0]])}"
    shortened = ", ".join(shown(names[label]) for label in labels[:3])
    return f"{len(labels):,} classes ({shortened}{', …' if len(labels) > 3 else ''})"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what} is" if number == 1 else f"{number:,} {what}s are"
