"""Find a source of images by its name or path. Only this module knows the names.

To add a dataset: a file in this folder with a subclass of ``Source``, and a line in ``SOURCES``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from thimble.errors import UserError
from thimble.system.arguments import described, expanded

if TYPE_CHECKING:
    from .dataset import ImageDataset
    from .own.own_images import OwnImages
    from .own.settings import ImagesConfig
    from .source import Part, Source

    Data: TypeAlias = str | os.PathLike[str] | ImageDataset | tuple[ImageDataset, ImageDataset] | Source
    """A dataset's name, a path, images, a pair of training and test images, or a source."""


class Trained(Protocol):
    """A model that carries what it was trained on, and how its images are fitted: a ``Classifier`` or an export."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of its images."""

    @property
    def fit(self) -> str:
        """See ``thimble.data.pixels.Fitting``."""

    @property
    def depth(self) -> tuple[float, float] | None:
        """See ``thimble.data.pixels.Fitting``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the logits."""

    @property
    def data(self) -> dict[str, Any]:
        """The record of its training data, see ``Source.record``; empty if there is none."""


SOURCES: dict[str, str] = {
    "cifar10": "thimble.data.cifar10:Cifar10",
    "shapes10": "thimble.data.shapes10:Shapes10",
    "cifar100": "thimble.data.cifar100:Cifar100",
    "mnist": "thimble.data.mnist:Mnist",
    "fashion-mnist": "thimble.data.mnist:FashionMnist",
}
"""Each source's class, by name. It is imported on first use, so that the command line can list the names quickly."""

HUB = "hf:"
"""How the name of a dataset on the Hugging Face Hub begins: ``hf:OWNER/NAME``."""


def find_source(data: Data, data_dir: Path | None = None, images: ImagesConfig | None = None) -> Source:
    """Find the source that ``data`` names.

    A name wins over a path of the same name; ``./cifar10`` is the path.

    Args:
        data: a name in ``SOURCES``; a path to the files of one of them, or to own images; ``hf:OWNER/NAME``; an
            ``ImageDataset``, used for both parts; a pair of them, training and test images; or a source, which is
            returned unchanged.
        data_dir: the folder of a named dataset's files, also for downloads. Default: $THIMBLE_DATA, else the user's
            cache.
        images: how own images are read, split and fitted. Default: the default settings.

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
    from .own.own_images import OwnImages

    if isinstance(data, str) and data.startswith(HUB):
        return OwnImages(data, images)
    path = expanded(data)
    for name in SOURCES:
        kind = _class_of(name)
        if kind.is_at(path):
            return kind(path)
    if os.path.lexists(path):
        return OwnImages(path, images)
    raise UserError(
        f"--data {data} is neither a dataset's name nor a path: expected a folder of images, a manifest, an archive, or"
        f" one of {', '.join(SOURCES)}"
    )


def is_own(data: Data) -> bool:
    """Whether ``data`` names own images, by a path that exists or on the Hugging Face Hub."""
    if not isinstance(data, str | os.PathLike) or (isinstance(data, str) and data in SOURCES):
        return False
    if isinstance(data, str) and data.startswith(HUB):
        return True
    path = expanded(data)
    return os.path.lexists(path) and not any(_class_of(name).is_at(path) for name in SOURCES)


def recorded_source(model: Trained, called: str, data_dir: Path | None = None) -> Source:
    """Find the source that a model was trained on.

    Args:
        model: its ``data`` records its source, see ``Source.record``; empty if it has none.
        called: the model's name in messages.
        data_dir: as for ``find_source``.

    Raises:
        UserError: the record is empty, or names images that were given in memory or are no longer there.
    """
    record = model.data
    name, place = record.get("name"), record.get("path")
    if isinstance(place, str):
        if not place.startswith(HUB) and not os.path.lexists(place):
            raise UserError(
                f"{called} was trained on {place}, which is not there: expected its images; name their new place with"
                " --data"
            )
        return _seen_by(model, place, _recorded_images(record, called))
    if isinstance(name, str) and name in SOURCES and "sha256" not in record:
        return find_source(name, data_dir)
    if name and "sha256" in record:
        raise UserError(
            f"{called} was trained on images that its trainer gave, {str(name)[:80]}: name them with --data, or pass"
            " them as data= in Python"
        )
    found = f"was trained on {str(name)[:80]}, which Thimble cannot find by its name" if name else "records no dataset"
    raise UserError(f"{called} {found}: name its data with --data, for example {' or '.join(SOURCES)}")


def source_for(
    data: Data | None, model: Trained, called: str, data_dir: str | os.PathLike[str] | None = None
) -> Source:
    """Find the source to measure a model on: ``data`` if it is given, else the one that the model was trained on.

    Own images are fitted as the model's training images were, and have its classes. If they are other images than those
    that it was trained on, and their folder has no parts, all of them are test images.
    """
    folder = None if data_dir is None else expanded(data_dir)
    if data is None:
        return recorded_source(model, called, folder)
    if not is_own(data):
        return find_source(data, folder)
    assert isinstance(data, str | os.PathLike)
    place = os.fspath(data)
    recorded = model.data.get("path")
    if recorded == (place if place.startswith(HUB) else os.path.abspath(expanded(place))):
        return recorded_source(model, called, folder)
    source = _seen_by(model, place, None)
    found = source.examine()
    if found.scan.checksum == model.data.get("sha256"):
        return _seen_by(model, place, _recorded_images(model.data, called))
    source.whole = all(entry.part is None for entry in found.scan.entries)
    return source


def _seen_by(model: Trained, place: str, images: ImagesConfig | None) -> OwnImages:
    """Own images, as a model sees them."""
    from .own.own_images import OwnImages
    from .pixels import Fitting

    path = place if place.startswith(HUB) else expanded(place)
    return OwnImages(path, images, fitting=Fitting.of(model), classes=model.classes)


def _recorded_images(record: Mapping[str, Any], called: str) -> ImagesConfig:
    """The settings of own images in a model's record, which may be forged."""
    from .own.settings import ImagesConfig

    settings = record.get("images", {})
    try:
        return ImagesConfig(**settings)
    except (TypeError, UserError) as error:
        raise UserError(f"{called} records settings of its images that are wrong ({error}): name its --data") from error


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
