"""Compute what a network costs on a device, before it is trained: parameters, multiply-adds, and the C file's memory.

It is here, not in ``measuring``, because it asks the C file's own memory plan and tables, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from thimble.errors import RunError, UserError
from thimble.measuring.summary import summarize
from thimble.models import build_model
from thimble.models.classifier import Classifier

from .c.tables import tabulate
from .skeleton import skeleton

CODE_BYTES = 1_600
"""At least what gcc 12 -O2 makes of the C file's code for a Cortex-M4 (benchmarks/results/cost.md). What a compiler
makes of it is its own matter; everything else is exact."""
NAMES = ("thimble-150k", "reference", "thimble-97k", "thimble-78k")
"""Architectures to offer in place of one that does not fit, the most accurate first."""


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        num_parameters: its parameters.
        num_multiply_adds: for one image.
        ram_bytes: the C file's static memory, as a compiler makes it; None if there is no C file of it.
        table_bytes: the C file's weights, tables and names of classes in flash; None likewise.
        missing: why there is no C file; None if there is.
    """

    num_parameters: int
    num_multiply_adds: int
    ram_bytes: int | None
    table_bytes: int | None
    missing: str | None = None

    @property
    def flash_bytes(self) -> int | None:
        """The tables and about ``CODE_BYTES`` of code."""
        return None if self.table_bytes is None else self.table_bytes + CODE_BYTES

    def to_dict(self) -> dict[str, Any]:
        """The cost as JSON values."""
        return {**vars(self), "flash_bytes": self.flash_bytes}


@dataclass(frozen=True)
class Limits:
    """The most that a network may cost; None: as much as it likes."""

    num_parameters: int | None = None
    num_multiply_adds: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None

    def exceeded(self, cost: Cost) -> list[str]:
        """What a network has too much of, in words."""
        found = []
        for name, unit in _UNITS.items():
            limit, value = getattr(self, name), getattr(cost, name)
            if limit is None:
                continue
            if value is None:
                found.append(f"no C file, so no {unit} to compare: {cost.missing}")
            elif value > limit:
                found.append(f"{value:,} {unit}, {value - limit:,} more than {limit:,}")
        return found


_UNITS = {
    "num_parameters": "parameters",
    "num_multiply_adds": "multiply-adds",
    "ram_bytes": "bytes of RAM",
    "flash_bytes": "bytes of flash",
}


def cost_of(model: Classifier) -> Cost:
    """Compute what a model costs, trained or not, for images of its input size. No weight matters."""
    summary = summarize(model)
    counted = (summary.num_parameters, summary.num_multiply_adds)
    try:
        tables = tabulate(skeleton(model))
    except (RunError, UserError) as error:
        return Cost(*counted, None, None, str(error))
    names = sum(len(name.encode("utf-8", "backslashreplace")) + 1 for name in model.classes)
    return Cost(*counted, tables.ram_bytes, tables.flash_bytes + 4 * len(model.classes) + names)


def fitting(model: Classifier, limits: Limits, names: Iterable[str] = NAMES) -> str | None:
    """The first of some architectures that is within the limits, for the same images and classes; None if none is."""
    channels, *size = model.input_size
    for name in names:
        try:
            other = build_model(name, num_classes=len(model.classes), in_channels=channels, input_size=tuple(size))
        except ValueError:
            continue
        if other.name != model.name and not limits.exceeded(cost_of(other)):
            return name
    return None
