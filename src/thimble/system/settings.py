"""What every settings class shares: its fields, types adopted, ranges required, one wording for all errors."""

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
    """A field that the settings did not have from the first version on.

    Args:
        default: its value when it is not given.
        before: the value that stands for what Thimble did before there was such a field. A run whose config.json lacks
            the field goes on with it. It is not simply the default, which may change while old runs stay what they are.
    """
    return dataclasses.field(default=default, metadata={"before": before})


def before(settings: Any) -> dict[str, Any]:
    """What stands for the fields of a settings class that a file lacks because they did not exist: see ``later``."""
    return {each.name: each.metadata["before"] for each in dataclasses.fields(settings) if "before" in each.metadata}


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


def require_whole(config: Any, name: str, least: int, most: int) -> None:
    """The same for a whole number, or None if the field may be that.

    Without a greatest value, a forged file could ask for a million workers.
    """
    require(config, name, lambda value: value is None or value >= least, f"a whole number of at least {least}")
    require(config, name, lambda value: value is None or value <= most, f"a whole number of at most {most:,}")


def require_part(config: Any, *names: str) -> None:
    """The same for parts of something that may not be the whole of it."""
    for name in names:
        require(config, name, lambda value: 0.0 <= value < 1.0, "a number from 0 to less than 1")


def require_fraction(config: Any, *names: str) -> None:
    """The same for fractions."""
    for name in names:
        require(config, name, lambda value: 0.0 <= value <= 1.0, "a fraction from 0 to 1")


def require_positive(config: Any, *names: str) -> None:
    """The same for numbers above zero, or None if the field may be that."""
    for name in names:
        require(config, name, lambda value: value is None or 0.0 < value < math.inf, "a number above 0")


def require_path(config: Any, *names: str) -> None:
    """The same for paths, or None if the field may be that."""
    for name in names:
        require(config, name, lambda path: "\0" not in str(path), "a path")


def require_types(config: Any) -> None:
    """The same for what has no range."""
    for name, hint in _hints(config.__class__).items():
        choices = ", ".join(str(choice) for choice in get_args(hint))
        names = {bool: "true or false", Path: "a path", Path | None: "a path", str: "the name of a model"}
        expected = names.get(hint) or (f"one of {choices}" if choices else f"settings of type {hint.__name__}")
        require(config, name, lambda value: True, expected)
