"""Read IDX files, the form in which MNIST and its successors are published, compressed by gzip or not."""

from __future__ import annotations

import gzip
import math
import os
import re
import weakref
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thimble.errors import UserError
from thimble.system.files import open_file
from thimble.system.names import shown

from .listing import Entry, Files, Listing, Part
from .settings import ImagesConfig

if TYPE_CHECKING:
    from PIL.Image import Image

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

MOST_BYTES = 8 * 2**30
"""The largest file, and the most values in one."""

_NAME = re.compile(r"(.*?)[-._]?(images|labels)[-._]idx([134])[-._]ubyte(\.gz)?", re.IGNORECASE)
_CHUNK = 1 << 20
_TRAIN, _TEST = ("train", "training"), ("t10k", "test", "testing")
_VAL = ("val", "valid", "validation")


@dataclass(frozen=True)
class _Pair:
    """An images file, its labels file, and what comes before "images" in their names."""

    images: Path
    labels: Path
    prefix: str

    @property
    def part(self) -> Part | None:
        """The part that the names mean."""
        word = self.prefix.casefold().rsplit("-", 1)[-1]
        return "train" if word in _TRAIN else "test" if word in _TEST else "val" if word in _VAL else None


@dataclass
class IdxFiles(Files):
    """Images in IDX files: read one by one, but a compressed file as a whole, once by each process.

    Attributes:
        paths: the images files, by the name that their entries' names begin with.
    """

    paths: dict[str, Path]
    _read: dict[str, Bytes | _Plain | UserError] = field(default_factory=dict, repr=False, compare=False)

    def read(self, name: str) -> bytes | Image:
        """The image ``FILE/NUMBER``, of mode L or RGB."""
        from PIL import Image

        file, _, number = name.rpartition("/")
        if file not in self._read:
            try:
                self._read[file] = _images_of(self.paths[file])
            except UserError as error:
                self._read[file] = error  # a damaged file is not read again for each of its images
        images = self._read[file]
        if isinstance(images, UserError):
            raise images
        return Image.fromarray(images[int(number)])

    def __getstate__(self) -> dict[str, Any]:
        """Leave the images behind: each process reads them itself."""
        return {**self.__dict__, "_read": {}}


def is_idx(path: Path) -> bool:
    """Whether a file is an IDX file of images by its name, or a folder has some."""
    return bool(_pairs(path))


def idx_listing(path: Path, config: ImagesConfig) -> Listing:
    """List the images of IDX files: a folder of them, or one file of images whose labels are beside it.

    Args:
        path: for which ``is_idx`` holds.
        config: not used: IDX files have neither folders nor columns.

    Raises:
        UserError: a labels file is missing; a file is damaged, or the two do not fit together.
    """
    entries: list[Entry] = []
    found: set[int] = set()
    pairs = _pairs(path)
    for pair in pairs:
        if not pair.labels.exists():
            raise UserError(f"{pair.images} has no labels: expected {pair.labels.name} beside it")
        labels = read_idx(pair.labels)
        shape = _checked_shape(pair.images)
        if labels.ndim != 1 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
            raise UserError(
                f"{pair.images.name} and {pair.labels.name} have the shapes {shape} and {labels.shape}: expected"
                " (N, height, width) or (N, height, width, 3), and (N,)"
            )
        if len(labels) != shape[0]:
            raise UserError(
                f"{pair.images} has {shape[0]:,} images, and {pair.labels.name} {len(labels):,} labels: expected one"
                " for each"
            )
        status = pair.images.stat()
        signature = f"{status.st_size} {status.st_mtime_ns}"
        entries += [
            Entry(f"{pair.images.name}/{index}", str(label), pair.part, None, signature)
            for index, label in enumerate(labels.tolist())
        ]
        found |= set(labels.tolist())
    names = ", ".join(shown(pair.images.name) for pair in pairs)
    files = IdxFiles({pair.images.name: pair.images.absolute() for pair in pairs})
    classes = tuple(str(label) for label in sorted(found))
    return Listing(path.name, f"IDX files: {names}", tuple(entries), classes, files, {}, (), (), os.path.abspath(path))


def read_idx(path: Path) -> Bytes:
    """Read an IDX file of bytes: uint8, of the shape that its header says.

    Raises:
        UserError: it is not one, is damaged, or holds more than 8 GiB.
    """
    shape, offset = _header(path)
    size = math.prod(shape)
    values = np.empty(size, np.uint8)
    done = 0
    with _Opened(path) as file:
        file.seek(offset)
        while done < size and (block := file.read(min(_CHUNK, size - done))):
            values[done : done + len(block)] = np.frombuffer(block, np.uint8)
            done += len(block)
        if done < size or file.read(1):
            raise _other_size(path, size, f"only {done:,}" if done < size else "more")
    return values.reshape(shape)


class _Plain:
    """The images of an uncompressed IDX file, read one by one."""

    def __init__(self, path: Path) -> None:
        shape = _checked_shape(path)
        self._path, self._shape, self._offset = path, shape[1:], _header(path)[1]
        # Not mapped: a file that shrinks meanwhile would end this process.
        self._file = path.open("rb")
        weakref.finalize(self, self._file.close)

    def __getitem__(self, index: int) -> Bytes:
        size = math.prod(self._shape)
        try:
            self._file.seek(self._offset + index * size)
            content = self._file.read(size)
        except OSError as error:
            raise UserError(f"cannot read {self._path}: {error.strerror}; expected a readable file") from error
        if len(content) < size:
            raise UserError(f"{self._path} became shorter while it was read: expected a file that stays as it is")
        return np.frombuffer(content, np.uint8).reshape(self._shape)


def _images_of(path: Path) -> Bytes | _Plain:
    return read_idx(path) if _is_compressed(path) else _Plain(path)


def _checked_shape(path: Path) -> tuple[int, ...]:
    """The shape that the header says, if the file's size agrees. No value is read if the file is whole."""
    shape, offset = _header(path)
    size = math.prod(shape)
    if not _is_compressed(path):
        found = path.stat().st_size - offset
        if found != size:
            raise _other_size(path, size, f"only {max(0, found):,}" if found < size else "more")
    else:
        with open_file(path, MOST_BYTES) as file:
            file.seek(-4, os.SEEK_END)
            found = int.from_bytes(file.read(4), "little")  # gzip's last bytes: the size, modulo 2**32
        if found != (size + offset) % 2**32:
            read_idx(path)  # tells what is wrong; it may be whole still, if it was compressed in pieces
    return shape


def _is_compressed(path: Path) -> bool:
    with open_file(path, MOST_BYTES) as file:
        return file.read(2) == b"\x1f\x8b"


def _other_size(path: Path, size: int, found: str) -> UserError:
    return UserError(f"{path} has {found} bytes of {size:,}, as its header says: expected a whole IDX file")


def _header(path: Path) -> tuple[tuple[int, ...], int]:
    """The shape, and the offset of the first value."""
    with _Opened(path) as file:
        start = file.read(4)
        dimensions = start[3] if len(start) == 4 else 0
        sizes = file.read(4 * dimensions)
    if start[:3] != b"\0\0\x08" or not 1 <= dimensions <= 4 or len(sizes) < 4 * dimensions:
        raise UserError(f"{path} is not an IDX file of bytes: expected one as MNIST's")
    shape = tuple(int.from_bytes(sizes[place : place + 4], "big") for place in range(0, len(sizes), 4))
    if math.prod(shape) > MOST_BYTES or not math.prod(shape):
        raise UserError(f"{path} has the shape {shape}: expected from 1 to {MOST_BYTES:,} bytes")
    return shape, 4 + len(sizes)


class _Opened:
    """Open an IDX file, uncompressed, and name it in every error of its damage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw = open_file(path, MOST_BYTES)

    def __enter__(self) -> Any:
        raw = self._raw.__enter__()
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        return gzip.GzipFile(fileobj=raw) if compressed else raw

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._raw.__exit__(None, None, None)
        if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
            raise UserError(f"{self.path} is damaged ({error}): expected a whole file, compressed by gzip") from error
        if isinstance(error, OSError):
            raise UserError(f"cannot read {self.path}: {error.strerror}; expected a readable file") from error


def _pairs(path: Path) -> list[_Pair]:
    """The images files at a path, in the order of their names, with the labels files that belong to them."""
    if path.is_dir():
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; expected a readable folder") from error
        folder = path
    else:
        names, folder = [path.name], path.parent
    pairs: dict[str, _Pair] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match[2].lower() == "images" and match[1].casefold() not in pairs:
            pairs[match[1].casefold()] = _Pair(folder / name, _labels_beside(folder, match[1], name), match[1])
    return list(pairs.values())


def _labels_beside(folder: Path, prefix: str, images: str) -> Path:
    for name in sorted(os.listdir(folder)):
        match = _NAME.fullmatch(name)
        if match and match[2].lower() == "labels" and match[1].casefold() == prefix.casefold():
            return folder / name
    return folder / re.sub("images([-._])idx[134]", r"labels\1idx1", images)
