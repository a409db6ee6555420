"""Convert and check arguments: NumPy or PyTorch numbers, lists for tuples, strings for paths.

This module imports nothing heavy.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from thimble.errors import UserError


def expanded(path: str | os.PathLike[str]) -> Path:
    """Replace a leading ``~`` of a path by the home folder; the string ``./~name`` names the file ``~name``.

    Raises:
        UserError: the path is bytes, or names a user who does not exist.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise UserError(f"path {text!r}: expected text, not bytes")
    if text.startswith("./~"):  # Path would shorten it to "~"
        return Path.cwd() / text[2:]
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        name = text.partition("/")[0]
        raise UserError(
            f"{text}: there is no user {name[1:]!r}; expected a path, or ./{text} for the file of that name"
        ) from error


def adopted(value: Any, hint: Any) -> Any:
    """Convert a value to the wanted Python type if it is an equivalent; otherwise return it unchanged.

    Args:
        value: anything. A NumPy or PyTorch number becomes a Python number.
        hint: the wanted type. For a tuple, lists and arrays are converted; for a path, strings; for a string, paths.
    """
    wanted = set(_options(hint))
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()
    if any(get_origin(option) is tuple for option in wanted):
        values = value.tolist() if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist") else value
        return tuple(adopted(item, float) for item in values) if isinstance(values, list | tuple) else value
    if Path in wanted and isinstance(value, str | os.PathLike):
        return expanded(value)
    if str in wanted and isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def conforms(value: Any, hint: Any) -> bool:
    """Whether a value has the type ``hint``. A bool does not count as a number; an int counts as a float."""
    return any(_is(value, option) for option in _options(hint))


def is_number(value: Any) -> bool:
    """Whether a value is a finite Python int or float; a bool is not."""
    return type(value) in (int, float) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a Python int; a bool is not."""
    return type(value) is int


def take(name: str, value: Any, hint: Any, expected: str) -> Any:
    """Convert an argument of a public function, see ``adopted``, and check its type.

    Raises:
        UserError: it has another type.
    """
    value = adopted(value, hint)
    if not conforms(value, hint):
        raise UserError(f"{name} is {described(value)}: expected {expected}")
    return value


def described(value: Any) -> str:
    """Describe an unexpected value for an error message, in at most about 40 characters."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)[:40]
    return f"{value!r}"[:40] if isinstance(value, str) else f"of type {type(value).__name__}"


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        hints = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(hints) == len(value) and all(map(_is, value, hints))
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float)
    return value is None if hint in (None, NoneType) else isinstance(value, hint)
