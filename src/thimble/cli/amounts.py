"""Read amounts with units from the command line: ``64kB``, ``0.5MiB``, ``30M``."""

from __future__ import annotations

import re

from thimble.errors import UserError

_UNITS = {"": 1, "B": 1, "k": 1_000, "kB": 1_000, "KiB": 1_024, "M": 1_000_000, "MB": 1_000_000, "MiB": 1_048_576}


def amount(option: str, text: str | None, *, of_bytes: bool = False) -> int | None:
    """Turn a text such as ``64kB`` into a whole number.

    Args:
        option: whose value it is; the error message begins with it.
        text: a number and a unit: k or M, of bytes also B, kB, KiB, MB or MiB. None gives None.
        of_bytes: whether units of bytes may be there.

    Raises:
        UserError: it is no such text, or no whole number of at least 1.
    """
    if text is None:
        return None
    units = [unit for unit in _UNITS if unit and (of_bytes or "B" not in unit)]
    found = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(units)})?", text.strip(), re.ASCII)
    value = float(found[1]) * _UNITS[found[2] or ""] if found else 0.0
    if value < 1 or value != int(value) or value > 2**53:
        example = "64kB" if of_bytes else "150k"
        raise UserError(
            f"{option} {text}: expected a whole number of at least 1, with or without {', '.join(units[:-1])} or"
            f" {units[-1]}, such as {example}"
        )
    return int(value)
