"""JSON from outside: an object of bounded size and depth, of numbers that Python can work with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from thimble.errors import UserError

from .files import MEBIBYTE, read_file

_DEEPEST = 32
_LARGEST = 2**63
"""Whole numbers stay below it: larger ones become no float and no tensor."""


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The object that a JSON text holds.

    Stricter than ``json.loads``: no whole number of more than 64 bits, no name twice in one object, no more than 32
    levels. NaN and infinities, which JSON does not know and Python writes, become None, as all that is not known.

    Args:
        text: as bytes, in UTF-8.

    Raises:
        ValueError: it is none; the reason is in a few words.
    """
    try:
        value = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            parse_constant=_unknown,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_without_repetition,
        )
    except RecursionError:
        raise ValueError(f"its values are nested more than {_DEEPEST} deep") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    _check_depth(value)
    return value


def read_object(path: Path, at_most: int = MEBIBYTE) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: a regular file, in UTF-8.
        at_most: the largest size that makes sense, in bytes.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    content = read_file(path, at_most)
    try:
        return parse_object(content)
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}; expected the JSON object that Thimble wrote") from error


def _unknown(text: str) -> None:
    """What stands for NaN, Infinity and -Infinity."""


def _finite(text: str) -> float | None:
    value = float(text)  # 1e999 is infinite
    return value if math.isfinite(value) else None


def _whole(text: str) -> int:
    # Counted before it is converted, which takes time in the square of the digits.
    if len(text) > 20 or not -_LARGEST <= int(text) < _LARGEST:
        raise ValueError(f"{text[:20]} is too large a whole number")
    return int(text)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {repeated[:50]!r} twice")
    return values


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [child for parent in level if isinstance(parent, dict | list) for child in _children(parent)]
        if not level:
            return
    raise ValueError(f"its values are nested more than {_DEEPEST} deep")


def _children(parent: dict[str, Any] | list[Any]) -> list[Any]:
    return list(parent.values()) if isinstance(parent, dict) else parent
