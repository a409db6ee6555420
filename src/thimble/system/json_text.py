"""Parse untrusted JSON: an object of bounded size and depth, with numbers of bounded size."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from thimble.errors import UserError

from .files import MEBIBYTE, read_file

_DEEPEST = 32
_LARGEST = 2**63
"""Whole numbers stay below it; larger ones do not fit into an int64 tensor."""


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Stricter than ``json.loads``: whole numbers of at most 64 bits, no repeated key in an object, at most 32 levels. NaN
    and infinities, which Python writes although JSON lacks them, become None: an unknown value.

    Args:
        text: a string, or bytes in UTF-8.

    Raises:
        ValueError: the text is not such an object; the message says why in a few words.
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
        raise ValueError("it is not a JSON object")
    _check_depth(value)
    return value


def read_object(path: Path, at_most: int = MEBIBYTE) -> dict[str, Any]:
    """Read the object in a JSON file: see ``parse_object``.

    Args:
        path: a regular file, in UTF-8.
        at_most: the largest allowed size, in bytes.

    Raises:
        UserError: the file cannot be read, or does not hold a JSON object.
    """
    content = read_file(path, at_most)
    try:
        return parse_object(content)
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}; expected the JSON object that Thimble wrote") from error


def _unknown(text: str) -> None:
    """Replace NaN, Infinity and -Infinity by None."""


def _finite(text: str) -> float | None:
    value = float(text)  # 1e999 is infinite
    return value if math.isfinite(value) else None


def _whole(text: str) -> int:
    # Check the length first: converting a number takes time quadratic in its digits.
    if len(text) > 20 or not -_LARGEST <= int(text) < _LARGEST:
        raise ValueError(f"the whole number {text[:20]} is too large")
    return int(text)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated[:50]!r} appears twice")
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
