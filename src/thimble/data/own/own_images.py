"""Define ``OwnImages``, the source of the user's own images: a folder, a manifest, an archive or a Hub dataset."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.data.pixels import Fitting
from thimble.data.rows import rows_of
from thimble.data.source import Part, Source
from thimble.errors import UserError
from thimble.system.names import shortened, shown

from .settings import ImagesConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .examination import Examination

_MOST_MEASURED = 100_000
"""The most training images whose pixels give mean and std."""
_CHUNK = 1_000

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class OwnImages(Source):
    """The user's own images.

    Args:
        path: a folder, a manifest, an archive, or ``hf:OWNER/NAME``.
        config: how to read, split and fit them.
        fitting: how to fit them, if a model is to see them that has been trained. Default: by ``config`` and the data.
        classes: the model's classes. Default: the data's.
        whole: use all images as test images, whatever their part.

    Raises:
        UserError: from every method: the images cannot be found, read or used as asked.
        RunError: from every method: the cache cannot be written, e.g. because the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        config: ImagesConfig | None = None,
        *,
        fitting: Fitting | None = None,
        classes: Sequence[str] | None = None,
        whole: bool = False,
    ) -> None:
        super().__init__()
        self.path, self.config, self.whole = path, config or ImagesConfig(), whole
        self.name = self.title = dataset_name(path)
        self._asked, self._classes = fitting, None if classes is None else tuple(classes)
        self._found: Examination | None = None
        self._constants: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def examine(self, *, progress: bool = False) -> Examination:
        """List, scan, split and check the images; the first call does the work.

        Args:
            progress: show a progress bar on stderr.
        """
        if self._found is None:
            from .examination import examine
            from .layouts import read_listing
            from .scan import scan

            listing = read_listing(self.path, self.config)
            scanned = scan(listing, self.config, progress=progress, fitting=self._asked)
            self._found = examine(listing, scanned, self.config)
        return self._found

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """The training images that duplicates leave, or the test images; their pixels stay on disk."""
        found = self.examine(progress=progress)
        parts = np.asarray(found.parts)
        if part == "test":
            return self._part(np.ones(len(parts), bool) if self.whole else parts == "test", part)
        found.check()
        return self._part((parts == "train") & found.kept, part)

    def validation(self, *, progress: bool = False) -> ImageDataset | None:
        """The validation images; None if there are none."""
        found = self.examine(progress=progress)
        chosen = (np.asarray(found.parts) == "val") & found.kept
        return self._part(chosen, "val") if chosen.any() else None

    @property
    def fitting(self) -> Fitting:
        """How the images were fitted."""
        return self.examine().scan.fitting

    def record(self) -> dict[str, Any]:
        """The path, the number and SHA-256 of the images in it, and the settings that differ from the defaults."""
        found, default = self.examine(), ImagesConfig()
        settings = {
            each.name: getattr(self.config, each.name)
            for each in dataclasses.fields(ImagesConfig)
            if getattr(self.config, each.name) != getattr(default, each.name)
        }
        path = os.fspath(self.path)
        place = path if path.startswith("hf:") else os.path.abspath(path)
        count, checksum = len(found.scan.entries), found.scan.checksum
        return {"name": self.name, "path": place, "num_images": count, "sha256": checksum, "images": settings}

    def _part(self, chosen: Mask, part: str) -> ImageDataset:
        found = self.examine()
        if not chosen.any():
            raise UserError(
                f"{self.name} has no {part} images: expected some; thimble data {self.path} shows its parts"
            )
        rows = torch.from_numpy(np.flatnonzero(chosen))
        labels, classes = self._labels(chosen, found)
        mean, std = self._normalization(found)
        return ImageDataset(self.name, rows_of(found.scan.images, rows), labels, classes, mean, std)

    def _labels(self, chosen: Mask, found: Examination) -> tuple[Tensor, tuple[str, ...]]:
        """The chosen images' labels: indices into the model's classes, matched by name, or into the data's."""
        own = found.classes
        labels = torch.from_numpy(np.asarray(found.labels, np.int64)[chosen])
        if self._classes is None or self._classes == own:
            return labels, own
        unknown = [own[index] for index in sorted(set(labels.tolist())) if own[index] not in self._classes]
        if unknown:
            raise UserError(
                f"{self.name} has images of {len(unknown)} classes that the model lacks, such as {unknown[0]!r}:"
                f" expected classes among {', '.join(self._classes)[:200]}"
            )
        places = {name: index for index, name in enumerate(self._classes)}
        return torch.tensor([places.get(name, 0) for name in own])[labels], self._classes

    def _normalization(self, found: Examination) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std of each channel over the training images, or over 100,000 of them, for pixels in 0..1."""
        if self._constants is None:
            training = np.flatnonzero((np.asarray(found.parts) == "train") & found.kept)
            rows = training if len(training) else np.arange(len(found.parts))
            self._constants = normalization(found.scan.images, torch.from_numpy(rows))
        return self._constants


def normalization(images: Tensor, rows: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel over rows of images, uint8 (N, channels, height, width), for pixels in 0..1.

    Of more than 100,000 rows, as many are taken at even distances. A channel without contrast gets the smallest std of
    one grey level.
    """
    if len(rows) > _MOST_MEASURED:
        rows = rows[torch.linspace(0, len(rows) - 1, _MOST_MEASURED).long()]
    channels, num_pixels = images.shape[1], len(rows) * images.shape[2] * images.shape[3]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for start in range(0, len(rows), _CHUNK):
        block = images[rows[start : start + _CHUNK]]
        for channel in range(channels):
            counts[channel] += torch.bincount(block[:, channel].flatten(), minlength=256)
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * levels).sum(1) / num_pixels
    variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / num_pixels
    std = variance.sqrt().clamp_min(1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def dataset_name(path: str | Path) -> str:
    """A dataset's name for reports: the last part of its path, printable and of at most 100 characters."""
    text = os.fspath(path)
    name = text.removeprefix("hf:") if text.startswith("hf:") else Path(os.path.abspath(text)).name
    return shortened(shown(name) or "images", 100)
