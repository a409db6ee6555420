"""Convert and check the fields of settings classes, with one wording for all errors."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

from thimble.errors import UserError

from .arguments import adopted, conforms, described


def later(default: Any, *, before: Any) -> Any:
    """Declare a settings field that was added after the first version.

    Args:
        default: its value if none is given.
        before: the value that means what Thimble did before the field existed. A run whose config.json lacks the field
            resumes with it. It may differ from the default, which can change while old runs stay the same.
    """
    return dataclasses.field(default=default, metadata={"before": before})


def before(settings: Any) -> dict[str, Any]:
    """The values, by name, for fields of a settings class that an older config.json lacks: see ``later``."""
    return {each.name: each.metadata["before"] for each in dataclasses.fields(settings) if "before" in each.metadata}


@functools.cache
def _hints(settings: Any) -> dict[str, Any]:
    return get_type_hints(settings)


def adopt(config: Any) -> None:
    """Convert each field, such as a NumPy number, to its declared type: see ``adopted``."""
    for name, hint in _hints(config.__class__).items():
        object.__setattr__(config, name, adopted(getattr(config, name), hint))


def require(config: Any, name: str, holds: Callable[[Any], bool], expected: str) -> None:
    """Raise UserError unless a field has its type and ``holds`` is true of its value."""
    value = getattr(config, name)
    # No float setting needs more than a billion, and computing with more could overflow float32.
    huge = isinstance(value, float) and 1e9 < abs(value) < math.inf
    if huge or not conforms(value, _hints(config.__class__)[name]) or not holds(value):
        number = isinstance(value, int | float | tuple) and not isinstance(value, bool)
        flag = "--" + name.replace("_", "-")
        found = str(value)[:200] if number or isinstance(value, str) else described(value)
        raise UserError(f"{flag} {found}: expected {expected}{', at most 1e9' if huge else ''}")


def require_whole(config: Any, name: str, least: int, most: int) -> None:
    """Require a whole number from ``least`` to ``most``, or None if the field allows it.

    The upper limit keeps a forged file from asking for a million workers.
    """
    require(config, name, lambda value: value is None or value >= least, f"a whole number of at least {least}")
    require(config, name, lambda value: value is None or value <= most, f"a whole number of at most {most:,}")


def require_part(config: Any, *names: str) -> None:
    """Require numbers from 0 to less than 1."""
    for name in names:
        require(config, name, lambda value: 0.0 <= value < 1.0, "a number from 0 to less than 1")


def require_fraction(config: Any, *names: str) -> None:
    """Require fractions from 0 to 1."""
    for name in names:
        require(config, name, lambda value: 0.0 <= value <= 1.0, "a fraction from 0 to 1")


def require_positive(config: Any, *names: str) -> None:
    """Require numbers above zero, or None if the field allows it."""
    for name in names:
        require(config, name, lambda value: value is None or 0.0 < value < math.inf, "a number above 0")


def require_path(config: Any, *names: str) -> None:
    """Require paths without null characters, or None if the field allows it."""
    for name in names:
        require(config, name, lambda path: "\0" not in str(path), "a path")


def require_types(config: Any) -> None:
    """Require every field to have its type, whatever its value."""
    for name, hint in _hints(config.__class__).items():
        choices = ", ".join(str(choice) for choice in get_args(hint))
        names = {bool: "true or false", Path: "a path", Path | None: "a path", str: "the name of a model"}
        expected = names.get(hint) or (f"one of {choices}" if choices else f"settings of type {hint.__name__}")
        require(config, name, lambda value: True, expected)
