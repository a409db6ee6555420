"""Understand the names that people give to the parts of a dataset: train, val and test, in all their forms."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .listing import Part

_NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "learn", "fit"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}
_EITHER = frozenset({"eval", "evaluation"})
"""A validation part beside a test part, and a test part otherwise."""

_AROUND = re.compile(r"[\s_.-]*(?:set|sets|data|dataset|images|imgs|split|part|samples|\d{1,4})$")


def parts_of(names: Iterable[str]) -> dict[str, Part]:
    """The part that each of these names means; names that mean none are left out.

    Upper case, and words or numbers at the end, such as in ``Train_Images`` and ``val2017``, make no difference.
    """
    plain = {name: _plain(name) for name in names}
    tested = any(_NAMES.get(word) == "test" for word in plain.values())
    either: Part = "val" if tested else "test"
    found = {name: either if word in _EITHER else _NAMES.get(word) for name, word in plain.items()}
    return {name: part for name, part in found.items() if part is not None}


def _plain(name: str) -> str:
    word = name.strip().casefold()
    while word not in _NAMES and word not in _EITHER:
        shorter = _AROUND.sub("", word)
        if shorter in (word, ""):
            break
        word = shorter
    return word
