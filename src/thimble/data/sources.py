"""Every source of images, by name or by path: the one table, and the one place that knows their names.

To add a dataset: a file beside this one with a subclass of ``Source``, and a line in ``SOURCES``.
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
    """What ``data`` may be: a name, a path, images to train or test with, or a pair of both; or a source."""

SOURCES: dict[str, str] = {
    "cifar10": "thimble.data.cifar10:Cifar10",
    "shapes10": "thimble.data.shapes10:Shapes10",
}
"""The class of each source, which is imported when it is asked for: the list costs the command line nothing."""


def find_source(data: Data, data_dir: Path | None = None) -> Source:
    """The source that ``data`` stands for.

    A name wins over a path of the same name; ``./cifar10`` is the path.

    Args:
        data: one of ``SOURCES``; a path to files of one of them; an ``ImageDataset``, which is both parts then; a pair
            of them, the training and the test images; or a source, which is returned as it is.
        data_dir: where the files of a named dataset are, or go. Default: $THIMBLE_DATA, else the user's cache.

    Raises:
        UserError: it is none of these.
    """
    from .dataset import ImageDataset
    from .source import Given, Source

    if isinstance(data, Source):
        return data
    if isinstance(data, ImageDataset):
        return Given(data, data)
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, ImageDataset) for part in data):
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
    what = "holds no dataset that Thimble knows" if os.path.lexists(path) else "is no dataset's name, and no such path"
    raise UserError(f"--data {data} {what}: expected {', '.join(SOURCES)} or a path to the files of one of them")


def recorded_source(record: Mapping[str, Any], called: str, data_dir: Path | None = None) -> Source:
    """The source that a model records: the one that it was trained on.

    Args:
        record: what ``Source.record`` gave when the model was trained; empty if nobody recorded it.
        called: what messages name the model by.
        data_dir: as for ``find_source``.

    Raises:
        UserError: nothing is recorded, or images that only their owner has.
    """
    name = record.get("name")
    if isinstance(name, str) and name in SOURCES and "sha256" not in record:
        return find_source(name, data_dir)
    found = f"was trained on {str(name)[:80]}, which Thimble cannot find by its name" if name else "records no dataset"
    raise UserError(f"{called} {found}: name its data with --data, {' or '.join(SOURCES)} for instance")


def source_for(
    data: Data | None, record: Mapping[str, Any], called: str, data_dir: str | os.PathLike[str] | None = None
) -> Source:
    """The source to measure a model on: ``data`` if it is given, else the one that the model records."""
    folder = None if data_dir is None else expanded(data_dir)
    return recorded_source(record, called, folder) if data is None else find_source(data, folder)


def known_source(name: str) -> Source | None:
    """The source of a name, of which only its own names are asked; None if there is none."""
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
