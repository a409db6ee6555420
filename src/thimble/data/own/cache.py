"""Keep scans in the user's cache, so that a second start reads no image.

A scan is a folder, ``scans/PLACE/KEY``. PLACE stands for the dataset's path, and KEY for all that decides what the scan
holds: the settings, and the files' names and signatures. It is written under a temporary name, then renamed, and never
changed. The files are plain bytes: ``images`` (uint8, N x channels x height x width, of the readable images),
``entries`` (``ENTRIES``, of all files), ``alike`` (int64, P x 3, of images that look the same), ``about.json``, and
``names.json``, which only the next scan reads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thimble.data.pixels import Fitting
from thimble.errors import RunError
from thimble.system.cache_folder import cache_folder
from thimble.system.files import MEBIBYTE
from thimble.system.json_text import read_object
from thimble.system.temporary import abandoned_in, temporary_beside

from .facts import FACTS
from .listing import Listing
from .settings import ImagesConfig

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_VERSION = 4
"""Counts up when scans become different: when images are decoded or fitted otherwise, or a file has another form."""

NUM_KEPT = 3
"""The most scans of one path, with other settings or older files, that are kept."""

ENTRIES = np.dtype([("facts", FACTS), ("digest", "u1", (32,)), ("kept", "?")])
"""One file: what is known of it, the SHA-256 of its content, and whether it is readable and so among the images."""

IMAGES = "images"
_NUM_SAMPLES, _SAMPLE_BYTES = 256, 4096
"""How many pieces of the images' file are checked at each start, and how long each is: so much takes milliseconds."""

_MOST_ABOUT, _MOST_NAMES = 256 * MEBIBYTE, 4096 * MEBIBYTE
_NUM_DIGITS = 32

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Record:
    """A scan on disk.

    Attributes:
        folder: where it is.
        fitting: how its images were fitted.
        reasons: why so.
        checksum: of the dataset's content.
        unreadable: the reasons, by the file's index.
        entries: ``ENTRIES`` (number of files,).
        images: uint8 (number of readable images, channels, height, width), mapped from the file.
        alike: int64 (P, 3), see ``look_alikes``.
    """

    folder: Path
    fitting: Fitting
    reasons: dict[str, str]
    checksum: str
    unreadable: dict[int, str]
    entries: Array
    images: Array
    alike: Array

    def names(self) -> dict[tuple[str, str], int]:
        """The readable files' indices by (name, signature).

        Raises:
            Exception: the file is missing or damaged.
        """
        found = read_object(self.folder / "names.json", _MOST_NAMES)
        pairs = zip(found["names"], found["signatures"], strict=True)
        return {pair: index for index, pair in enumerate(pairs) if self.entries["kept"][index]}


class Store:
    """The scans of one dataset.

    Args:
        listing: its files.
        config: the settings for own images.
        fitting: the fitting that a trained model demands, if any.

    Raises:
        RunError: from every method: the cache cannot be written.
    """

    def __init__(self, listing: Listing, config: ImagesConfig, fitting: Fitting | None) -> None:
        self.listing = listing
        self.folder = cache_folder() / "scans" / _digest(listing.place or f"title {listing.title}")
        asked = (config.image_size, config.fit, config.channels) if fitting is None else fitting
        lines = (part for entry in listing.entries for part in (entry.name, entry.signature))
        self.key = _digest("\0".join((f"{_VERSION} {asked}", *lines)))
        # Without them, a changed file would not be noticed.
        self.signed = bool(listing.place) and all(entry.signature for entry in listing.entries)

    def find(self) -> Record | None:
        """The scan of just these files with these settings; None if there is none, or it is damaged."""
        record = _read(self.folder / self.key) if self.signed else None
        if record is not None and len(record.entries) == len(self.listing.entries):
            with contextlib.suppress(OSError):
                os.utime(record.folder)  # used just now
            return record
        return None

    def earlier(self) -> list[Record]:
        """Other scans of this dataset, the last used first."""
        return [record for path in _by_last_use(self.folder) if (record := _read(path)) is not None]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time scan this dataset; the others wait. Some network drives cannot do it."""
        with self._disk(0):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def writing(self, num_bytes: int) -> Iterator[Path]:
        """Make a temporary folder for a new scan, and delete it after the block; ``keep`` renames it first.

        Args:
            num_bytes: the size of the images.
        """
        num_bytes += len(self.listing.entries) * (ENTRIES.itemsize + 200)
        with self._disk(num_bytes):
            for path in abandoned_in(self.folder):
                shutil.rmtree(path, ignore_errors=True)
            if shutil.disk_usage(self.folder).free < num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            temporary = temporary_beside(self.folder / self.key)
            temporary.mkdir()
            try:
                yield temporary
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def keep(self, temporary: Path, record: Record) -> Record:
        """Complete a scan whose images are in a temporary folder, and give it its name. Old ones are deleted.

        Args:
            temporary: the folder of ``writing``, with the file ``images``.
            record: the rest; its folder and images are not used.
        """
        about = {
            "place": self.listing.place,
            "size": list(record.fitting.size),
            "channels": record.fitting.channels,
            "fit": record.fitting.fit,
            "depth": None if record.fitting.depth is None else list(record.fitting.depth),
            "reasons": record.reasons,
            "sha256": record.checksum,
            "unreadable": {str(index): reason for index, reason in record.unreadable.items()},
            "sample": _sample(temporary / IMAGES),
        }
        entries = self.listing.entries
        names = {"names": [entry.name for entry in entries], "signatures": [entry.signature for entry in entries]}
        (temporary / "names.json").write_text(json.dumps(names), encoding="ascii")
        (temporary / "entries").write_bytes(record.entries.tobytes())
        (temporary / "alike").write_bytes(record.alike.astype(np.int64).tobytes())
        (temporary / "about.json").write_text(json.dumps(about), encoding="ascii")
        for path in temporary.iterdir():
            _flush(path)  # without it, a power cut could leave empty files under the new name
        target = self.folder / self.key
        finished = self.find() or self._named(temporary, target)
        if finished is not None:  # by another process, where there are no locks
            return finished
        for path in _by_last_use(self.folder)[NUM_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)
        stored = _read(target)
        if stored is None:
            raise RunError(f"{target} changed while it was written: start again")
        return stored

    def _named(self, temporary: Path, target: Path) -> Record | None:
        """Give a scan its name; return the one that another process has named so in the meantime, if it is whole."""
        for last in (False, True):
            try:
                temporary.rename(target)
            except OSError as error:
                if last or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                finished = self.find()
                if finished is not None:
                    return finished
                shutil.rmtree(target, ignore_errors=True)  # a damaged one
            else:
                break
        return None

    @contextlib.contextmanager
    def _disk(self, num_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            other = "set THIMBLE_CACHE to a folder on another disk"
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise RunError(
                    f"cannot write to the cache {self.folder}: {error.strerror or error}; {other}"
                ) from error
            free = "less"
            with contextlib.suppress(OSError):
                free = f"{shutil.disk_usage(self.folder).free / 1e6:,.1f} MB"
            raise RunError(
                f"the scan needs {num_bytes / 1e6:,.1f} MB in {self.folder}, whose disk has {free} left: free some"
                f" space, or {other}"
            ) from error


def _read(folder: Path) -> Record | None:
    """A scan; None if it is missing or damaged."""
    try:
        about = read_object(folder / "about.json", _MOST_ABOUT)
        depth = None if about["depth"] is None else (float(about["depth"][0]), float(about["depth"][1]))
        fitting = Fitting((about["size"][0], about["size"][1]), about["channels"], about["fit"], depth)
        entries = np.fromfile(folder / "entries", ENTRIES)
        shape = (int(entries["kept"].sum()), fitting.channels, *fitting.size)
        if entries.nbytes != (folder / "entries").stat().st_size:
            return None
        if not shape[0] or (folder / IMAGES).stat().st_size != np.prod(shape, dtype=np.int64):
            return None
        if about["sample"] != _sample(folder / IMAGES):
            return None
        images = np.memmap(folder / IMAGES, np.uint8, "r", shape=shape)
        alike = np.fromfile(folder / "alike", np.int64).reshape(-1, 3)
        if alike.size and not (alike.min() >= 0 and alike.max() < shape[0]):
            return None
        unreadable = {int(index): str(reason) for index, reason in about["unreadable"].items()}
        return Record(folder, fitting, dict(about["reasons"]), str(about["sha256"]), unreadable, entries, images, alike)
    except Exception:  # whatever is wrong with it, the images are scanned again
        return None


def _sample(path: Path) -> str:
    """A checksum of pieces of a file, at even distances: it finds what a disk lost, but not one wrong pixel."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        last = max(0, os.fstat(file.fileno()).st_size - _SAMPLE_BYTES)
        for start in np.linspace(0, last, _NUM_SAMPLES).astype(np.int64).tolist():
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _by_last_use(folder: Path) -> list[Path]:
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if len(entry.name) == _NUM_DIGITS:
                with contextlib.suppress(OSError):
                    found.append((entry.stat().st_mtime, Path(entry.path)))
    return [path for _, path in sorted(found, reverse=True)]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_NUM_DIGITS]
