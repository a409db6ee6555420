"""Shared by the verbs: types of their options, and functions that print a line, an error or JSON."""

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
Paths = Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="PATH...")]
Data = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(SOURCES)},PATH}}")]
"""A dataset's name, or the path to one."""


def say(text: str) -> None:
    """Print one line on stdout at once; unprintable characters in names are escaped."""
    print(shown(text), flush=True)


def fail(message: str, code: int) -> int:
    """Print an error in one line on stderr, with names escaped as in ``say``; return the exit code."""
    print(f"thimble: {shown(message)}", file=sys.stderr)
    return code


def print_json(value: Any) -> None:
    """Print the value as indented JSON on stdout."""
    print(json.dumps(value, indent=2))


def value_of(arguments: Sequence[str], name: str) -> str | None:
    """Look up an option's value before tyro parses it, because other options' defaults depend on it."""
    for index, argument in enumerate(arguments):
        found, _, value = argument.partition("=")
        if found == name:
            return value or next(iter(arguments[index + 1 : index + 2]), None)
    return None
