"""Checks that every settings class shares: types adopted, ranges required, one wording for all errors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

from thimble.errors import UserError

from .arguments import adopted, conforms, described


@functools.cache
def _hints(settings: Any) -> dict[str, Any]:
    return get_type_hints(settings)


def adopt(config: Any) -> None:
    """Turn what stands for a field's type, such as a number of NumPy's, into that type."""
    for name, hint in _hints(config.__class__).items():
        object.__setattr__(config, name, adopted(getattr(config, name), hint))


def require(config: Any, name: str, holds: Callable[[Any], bool], expected: str) -> None:
    """Raise UserError unless a field is of its type, and in its range."""
    value = getattr(config, name)
    # Beyond a billion, which no setting but a whole number is, float32 would make it infinite sooner or later.
    huge = isinstance(value, float) and 1e9 < abs(value) < math.inf
    if huge or not conforms(value, _hints(config.__class__)[name]) or not holds(value):
        number = isinstance(value, int | float | tuple) and not isinstance(value, bool)
        flag = "--" + name.replace("_", "-")
        found = str(value)[:200] if number or isinstance(value, str) else described(value)
        raise UserError(f"{flag} {found}: expected {expected}{', at most 1e9' if huge else ''}")


def require_types(config: Any) -> None:
    """The same for what has no range."""
    for name, hint in _hints(config.__class__).items():
        choices = ", ".join(str(choice) for choice in get_args(hint))
        names = {bool: "true or false", Path: "a path", Path | None: "a path", str: "the name of a model"}
        expected = names.get(hint) or (f"one of {choices}" if choices else f"settings of type {hint.__name__}")
        require(config, name, lambda value: True, expected)
