"""List and open the trained models that the package ships."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

LICENCE = "MIT"
"""The licence of the shipped weights, as an SPDX identifier."""


def list_pretrained() -> list[str]:
    """The names of the trained models that the package ships, sorted."""
    return sorted(Path(entry.name).stem for entry in _folder().iterdir() if entry.name.endswith(".safetensors"))


@contextlib.contextmanager
def shipped_weights(name: str) -> Iterator[Path]:
    """Open the weights file of a shipped model: ``name`` is one of ``list_pretrained()``."""
    with resources.as_file(_folder() / f"{name}.safetensors") as path:
        yield path


def shipped_names() -> str:
    """The shipped models, as a phrase for a message."""
    names = list_pretrained()
    return f"a shipped model ({', '.join(names)})" if names else "a shipped model (there are none yet)"


def _folder() -> Traversable:
    return resources.files("thimble") / "weights"
