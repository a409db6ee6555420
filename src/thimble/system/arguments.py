"""What may be given for a setting or an argument: NumPy's and PyTorch's numbers, lists for tuples, strings for paths.

Nothing heavy is imported here.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from thimble.errors import UserError


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with the home folder in place of a ``~`` at its beginning; the string ``./~`` is the file of that name.

    Raises:
        UserError: there is no such user, or it is no path.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise UserError(f"path {text!r}: expected text, not bytes")
    if text.startswith("./~"):  # which Path would make "~" of
        return Path.cwd() / text[2:]
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        name = text.partition("/")[0]
        raise UserError(
            f"{text}: no user {name[1:]!r} is known here; expected a path, ./{text} for that name"
        ) from error


def adopted(value: Any, hint: Any) -> Any:
    """The value as Python's own type, where it is one that stands for it; else the value itself.

    Args:
        value: anything. A number of NumPy's or PyTorch's becomes Python's.
        hint: the type that is wanted. For a tuple, a list or an array becomes one; for a path, a string; for a string,
            a path.
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
    """Whether a value is of a type; true and false are no numbers, and a whole number is a number."""
    return any(_is(value, option) for option in _options(hint))


def is_number(value: Any) -> bool:
    """Whether a value is a finite number of Python's own; true and false are none."""
    return type(value) in (int, float) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number of Python's own, not of a float's type; true and false are none."""
    return type(value) is int


def take(name: str, value: Any, hint: Any, expected: str) -> Any:
    """An argument of a public function, ``adopted``.

    Raises:
        UserError: it is of another type.
    """
    value = adopted(value, hint)
    if not conforms(value, hint):
        raise UserError(f"{name} is {described(value)}: expected {expected}")
    return value


def described(value: Any) -> str:
    """A value that should not be there, for a message: what it is, short."""
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
