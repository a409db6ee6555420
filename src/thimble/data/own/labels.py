"""Turn the labels of tables, which may be numbers of classes, into class names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from thimble.errors import UserError
from thimble.system.names import shown

_UNKNOWN = -1
"""The Hub's label for an image whose label is not given."""


def label_text(value: Any, names: Sequence[str], place: str) -> str | None:
    """The class name that a value stands for; None if it stands for none: null, empty, not a number, or the Hub's -1.

    Args:
        value: text, or a number; a whole number is one of a class if the classes have names.
        names: the names of the classes; empty if they have none.
        place: where the value is, for messages.

    Raises:
        UserError: the number of no class, or neither text nor a number, such as a list.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():  # pandas makes them of whole numbers if one is missing
        value = int(value)
    if names and isinstance(value, int):
        if value == _UNKNOWN:
            return None
        if not 0 <= value < len(names):
            raise UserError(f"{place} has the label {value}: expected one of its {len(names)} classes, from 0")
        return names[value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str | int | float):
        raise UserError(f"{place} has the label {shown(str(value)[:60])}: expected one class name or number")
    return str(value).strip() or None
