"""Understand the names that people give to the parts of a dataset: train, val and test, in all their forms."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from .listing import Part

_NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "trainval", "learn", "fit"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}
_EITHER = frozenset({"eval", "evaluation"})
"""A validation part beside a test part, and a test part otherwise."""

_AROUND = re.compile(r"[\s_.-]*(?:set|sets|data|dataset|images|imgs|img|split|part|samples|\d{1,4})$")
_NUMBER = re.compile(r"\d{1,4}[\s_.-]+")
_TO_SEPARATOR = re.compile(r".*[\s_.-]", re.DOTALL)


def parts_of(names: Iterable[str]) -> dict[str, Part]:
    """The part that each of these names means; names that mean none are left out.

    Upper case, and words or numbers at the end, such as in ``Train_Images`` and ``val2017``, make no difference; nor
    does a beginning that all names have, as in ``seg_train`` and ``seg_test``.
    """
    words = {name: name.strip().casefold() for name in names}
    prefix = os.path.commonprefix([*words.values()]) if len(words) > 1 else ""  # noqa: RUF071  of letters
    common = _TO_SEPARATOR.match(prefix)
    start = common.end() if common else 0
    plain = {name: _plain(word) or _plain(word[start:]) for name, word in words.items()}
    tested = any(_NAMES.get(word) == "test" for word in plain.values())
    either: Part = "val" if tested else "test"
    found = {name: either if word in _EITHER else _NAMES.get(word) for name, word in plain.items()}
    return {name: part for name, part in found.items() if part is not None}


def part_in(name: str) -> Part | None:
    """The only part that a word of a file's name means: train for ``train_labels.csv``."""
    found = {part for word in re.split(r"[\s_.-]+", name) for part in parts_of([word]).values()}
    return found.pop() if len(found) == 1 else None


def _plain(word: str) -> str:
    """The name in the tables that a word means; "" if it means none."""
    number = _NUMBER.match(word)
    word = word[number.end() :] if number else word
    while word not in _NAMES and word not in _EITHER:
        shorter = _AROUND.sub("", word)
        if shorter == word:
            return ""
        word = shorter
    return word
