"""What the verbs' options have in common: the names for their types, a line of text, one for a mistake, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from thimble.data.sources import SOURCES
from thimble.system.names import shown

Flat = tyro.conf.arg(name="")
Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Models = Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")]
Images = Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
Data = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(SOURCES)},PATH}}")]
"""A dataset's name, or the path to one."""


def say(text: str) -> None:
    """Say something in one line on stdout, at once: names in it are shown as they are, what is no text escaped."""
    print(shown(text), flush=True)


def fail(message: str, code: int) -> int:
    """Say in one line on stderr what is wrong, names shown like ``say`` does it; returns the exit code."""
    print(f"thimble: {shown(message)}", file=sys.stderr)
    return code


def print_json(value: Any) -> None:
    """The value as JSON on stdout, indented."""
    print(json.dumps(value, indent=2))


def value_of(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option before tyro reads it, because other options' defaults follow from it."""
    for index, argument in enumerate(arguments):
        found, _, value = argument.partition("=")
        if found == name:
            return value or next(iter(arguments[index + 1 : index + 2]), None)
    return None
