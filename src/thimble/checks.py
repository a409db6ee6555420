"""Whether a value, from a file or from Python, is of a kind; the settings and all that reads files ask it."""

from __future__ import annotations

import math
import numbers
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """The value with Python's own numbers for NumPy's, and tuples for lists."""
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return tuple(plain(each) for each in value) if isinstance(value, tuple | list) else value


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return type(value) in (int, float) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, not of a float's type; true and false are none."""
    return type(value) is int


def are_growing(values: Any) -> bool:
    """Whether a value is two numbers of which the second is no smaller."""
    return isinstance(values, tuple) and len(values) == 2 and all(map(is_number, values)) and values[0] <= values[1]


def is_folder_name(value: Any) -> bool:
    """Whether a value can name a folder in another one: neither a path nor one of the names that lead elsewhere."""
    return isinstance(value, str) and value not in ("", ".", "..") and Path(value).name == value and "\0" not in value
