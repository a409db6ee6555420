"""Find a source of images by its name or path. Only this module knows the names.

To add a dataset: a file in this folder with a subclass of ``Source``, and a line in ``SOURCES``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from thimble.errors import UserError
from thimble.system.arguments import described, expanded

if TYPE_CHECKING:
    from .dataset import ImageDataset
    from .source import Part, Source

    Data: TypeAlias = str | os.PathLike[str] | ImageDataset | tuple[ImageDataset, ImageDataset] | Source
    """A dataset's name, a path, images, a pair of training and test images, or a source."""

SOURCES: dict[str, str] = {
    "cifar10": "thimble.data.cifar10:Cifar10",
    "shapes10": "thimble.data.shapes10:Shapes10",
}
"""Each source's class, by name. It is imported on first use, so that the command line can list the names quickly."""


def find_source(data: Data, data_dir: Path | None = None) -> Source:
    """Find the source that ``data`` names.

    A name wins over a path of the same name; ``./cifar10`` is the path.

    Args:
        data: a name in ``SOURCES``; a path to the files of one of them; an ``ImageDataset``, used for both parts; a
            pair of them, training and test images; or a source, which is returned unchanged.
        data_dir: the folder of a named dataset's files, also for downloads. Default: $THIMBLE_DATA, else the user's
            cache.

    Raises:
        UserError: ``data`` is none of these.
    """
    from .dataset import ImageDataset
    from .source import Given, Source

    if isinstance(data, Source):
        return data
    if isinstance(data, ImageDataset):
        return Given(data, data)
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, ImageDataset) for part in data):
        return Given(*data)
    if isinstance(data, str) and data in SOURCES:
        return _class_of(data)(data_dir)
    if not isinstance(data, str | os.PathLike):
        raise UserError(f"data is {described(data)}: expected a dataset's name, a path, or an ImageDataset")
    path = expanded(data)
    for name in SOURCES:
        kind = _class_of(name)
        if kind.is_at(path):
            return kind(path)
    what = "holds no dataset that Thimble knows" if os.path.lexists(path) else "is neither a dataset's name nor a path"
    raise UserError(f"--data {data} {what}: expected {', '.join(SOURCES)} or a path to the files of one of them")


def recorded_source(record: Mapping[str, Any], called: str, data_dir: Path | None = None) -> Source:
    """Find the source that a model was trained on.

    Args:
        record: the model's record of its source, see ``Source.record``; empty if it has none.
        called: the model's name in messages.
        data_dir: as for ``find_source``.

    Raises:
        UserError: the record is empty, or names images that were given in memory.
    """
    name = record.get("name")
    if isinstance(name, str) and name in SOURCES and "sha256" not in record:
        return find_source(name, data_dir)
    if name and "sha256" in record:
        raise UserError(f"{called} was trained on images that its trainer gave, {str(name)[:80]}: pass them as data=")
    found = f"was trained on {str(name)[:80]}, which Thimble cannot find by its name" if name else "records no dataset"
    raise UserError(f"{called} {found}: name its data with --data, for example {' or '.join(SOURCES)}")


def source_for(
    data: Data | None, record: Mapping[str, Any], called: str, data_dir: str | os.PathLike[str] | None = None
) -> Source:
    """Find the source to measure a model on: ``data`` if it is given, else the one that the model was trained on."""
    folder = None if data_dir is None else expanded(data_dir)
    return recorded_source(record, called, folder) if data is None else find_source(data, folder)


def known_source(name: str) -> Source | None:
    """The source with this name, for its title and Hub name; None if there is none."""
    return find_source(name) if name in SOURCES else None


def load_dataset(
    name: str | os.PathLike[str], part: Part, data_dir: Path | None = None, *, progress: bool = False
) -> ImageDataset:
    """Load one part of a dataset into memory: see ``find_source`` and ``Source.load``."""
    if part not in ("train", "test"):
        raise UserError(f"unknown part {part!r} of a dataset: expected train or test")
    return find_source(name, data_dir).load(part, progress=progress)


def _class_of(name: str) -> type[Source]:
    module, _, kind = SOURCES[name].partition(":")
    found: type[Source] = getattr(importlib.import_module(module), kind)
    return found
