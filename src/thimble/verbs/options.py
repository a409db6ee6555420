"""What the verbs' options have in common: the names for their types, one line for a mistake, JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

Flat = tyro.conf.arg(name="")
Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Models = Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")]
Images = Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
Datasets = Literal["cifar10", "shapes10"]


def fail(message: str, code: int) -> int:
    """Say in one line on stderr what is wrong; returns the exit code."""
    print(f"thimble: {message}", file=sys.stderr)
    return code


def print_json(value: Any) -> None:
    """The value as JSON on stdout, indented."""
    print(json.dumps(value, indent=2))
