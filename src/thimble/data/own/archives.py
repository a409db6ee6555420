"""Read images in a .zip or .tar in place: its files are listed, and read from it one by one; nothing is unpacked."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import weakref
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from thimble.data.image_paths import image_endings, natural
from thimble.data.opening import MOST_FILE_BYTES
from thimble.errors import UserError
from thimble.system.files import open_file

from .listing import Files
from .trees import OTHER, TABLES, Tree, ending_of, why_skipped

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK = 1 << 20
_SAYS_UTF_8 = 0x800
_LINKS, _OTHERS = "links in an archive", "pipes and devices in an archive"


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its name there, or the place of its bytes; and its signature."""

    name: str
    where: Any
    signature: str


@dataclass(eq=False)
class ZipFiles(Files):
    """Files in a .zip.

    Attributes:
        path: the archive.
        members: each file's name in the archive's own spelling.
    """

    path: Path
    members: dict[str, str]
    _open: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    def read(self, name: str) -> bytes | Image:
        """Read a file; at most a byte more than an image file may have."""
        with _damage(self.path, name):
            if self._open is None:
                self._open = zipfile.ZipFile(self.path)
            with self._open.open(self.members[name]) as file:
                return file.read(MOST_FILE_BYTES + 1)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: each process opens its own."""
        return {**self.__dict__, "_open": None}


@dataclass(eq=False)
class TarFiles(Files):
    """Files in a .tar, compressed or not.

    Attributes:
        path: the archive.
        members: the offset and size of each file's bytes in the uncompressed archive.
    """

    path: Path
    members: dict[str, tuple[int, int]]
    _open: IO[bytes] | None = field(default=None, repr=False, compare=False)

    def read(self, name: str) -> bytes | Image:
        """Read a file. In a compressed archive, going back means to start over."""
        offset, size = self.members[name]
        with _damage(self.path, name):
            if self._open is None:
                self._open = _uncompressed(self.path)
                weakref.finalize(self, self._open.close)
            self._open.seek(offset)
            content = self._open.read(min(size, MOST_FILE_BYTES + 1))
        if len(content) < min(size, MOST_FILE_BYTES + 1):
            raise UserError(f"{name} is cut off: {self.path} ends before it; expected a whole archive")
        return content

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: each process opens its own."""
        return {**self.__dict__, "_open": None}


def is_archive(path: Path) -> bool:
    """Whether a file is a .zip or a .tar, by its content.

    Raises:
        UserError: it cannot be read, or is no regular file.
    """
    with open_file(path, sys.maxsize):  # a pipe would block, and a device never end
        pass
    with _damage(path):
        return _is_zip(path) or tarfile.is_tarfile(path)


def _is_zip(path: Path) -> bool:
    """Whether a file is a .zip, or half of one: not a .tar that has one at its end, which would look like one."""
    with path.open("rb") as file:
        start = file.read(4)
    return start == b"PK\3\4" or (zipfile.is_zipfile(path) and (start[:2] == b"PK" or not tarfile.is_tarfile(path)))


def archive_tree(path: Path) -> Tree:
    """List the files in an archive.

    Files that occur twice count once, the last. Links are skipped, but hard links in a .tar, which mean another of its
    files.

    Raises:
        UserError: it is damaged or encrypted.
    """
    skipped: Counter[str] = Counter()
    with _damage(path):
        if _is_zip(path):
            members, folders = _zip_members(path, skipped)
            files: Files = ZipFiles(path.absolute(), {name: member.where for name, member in members.items()})
            ordered = sorted(members, key=lambda name: [natural(part) for part in name.split("/")])
        else:
            members, folders = _tar_members(path, skipped)
            files = TarFiles(path.absolute(), {name: member.where for name, member in members.items()})
            ordered = sorted(members, key=lambda name: members[name].where)  # as they are read fastest
    endings = image_endings()
    kinds = {name: ending_of(name) for name in ordered}
    images = {name: members[name].signature for name in ordered if kinds[name] in endings}
    tables = tuple(name for name in ordered if kinds[name] in TABLES)
    others = tuple(name for name in ordered if kinds[name] not in endings and kinds[name] not in TABLES)
    skipped[OTHER] += len(others)
    parents = {name.rpartition("/")[0] for name in ordered}
    every = {folder for place in {*parents, *folders} for folder in _with_parents(place)}
    sorted_folders = tuple(sorted(every, key=lambda name: [natural(part) for part in name.split("/")]))
    return Tree(path.name, os.path.abspath(path), files, images, sorted_folders, tables, others, +skipped)


def _zip_members(path: Path, skipped: Counter[str]) -> tuple[dict[str, _Member], list[str]]:
    found: dict[str, _Member] = {}
    folders: list[str] = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _clean(_spelled(info), skipped, count=not info.is_dir())
            if name is None:
                continue
            if info.is_dir():
                folders.append(name)
                continue
            if stat.S_ISLNK(info.external_attr >> 16):  # its content is a path
                skipped[_LINKS] += 1
                continue
            if info.flag_bits & 1:
                raise UserError(f"{path} is encrypted: expected an archive without a password")
            found[name] = _Member(name, info.filename, f"{info.file_size} {info.CRC:08x}")
    return found, folders


def _tar_members(path: Path, skipped: Counter[str]) -> tuple[dict[str, _Member], list[str]]:
    found: dict[str, _Member] = {}
    folders: list[str] = []
    status = path.stat()
    with tarfile.open(path) as archive:
        for info in archive:
            name = _clean(info.name, skipped, count=not info.isdir())
            if name is None:
                continue
            if info.isdir():
                folders.append(name)
            elif info.isreg() and not info.issparse():
                found.pop(name, None)  # the last one counts, and its place
                signature = f"{info.size} {info.mtime:g} {status.st_size} {status.st_mtime_ns}"
                found[name] = _Member(name, (info.offset_data, info.size), signature)
            elif info.islnk() and (target := _clean(info.linkname, Counter(), count=False)) in found:
                found[name] = _Member(name, found[target].where, found[target].signature)
            else:
                skipped[
                    "sparse files in an archive"
                    if info.isreg()
                    else _LINKS
                    if info.issym() or info.islnk()
                    else _OTHERS
                ] += 1
            archive.members = []  # type: ignore[attr-defined]  # a million of them would need a gigabyte
        if not isinstance(archive.fileobj, io.BufferedReader):  # a checksum at the end of the compressed file
            while archive.fileobj is not None and archive.fileobj.read(_CHUNK):
                pass
    return found, folders


def _spelled(info: zipfile.ZipInfo) -> str:
    """A file's name in a .zip; macOS writes UTF-8 without saying so."""
    if info.flag_bits & _SAYS_UTF_8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _clean(name: str, skipped: Counter[str], *, count: bool) -> str | None:
    """A file's path with "/" between folders; None for one that is skipped, or that leads out of the archive."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    clean = "/".join(parts)
    reason = "with a path that leads out of the archive" if ".." in parts else why_skipped(clean)
    if reason is not None and count:
        skipped[reason] += 1
    return clean if parts and reason is None else None


def _with_parents(folder: str) -> Iterable[str]:
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _uncompressed(path: Path) -> IO[bytes]:
    """A file that gives a .tar's bytes, uncompressed, and can seek."""
    import bz2
    import gzip
    import lzma

    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.open(path)
    if start.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lzma.open(path)
    return path.open("rb")


@contextmanager
def _damage(path: Path, name: str = "") -> Iterator[None]:
    """Say which archive, and which file in it, cannot be read.

    Raises:
        UserError: the block raised an error.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist any more: expected the archive that was listed") from error
    except PermissionError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; expected a readable archive") from error
    except Exception as error:  # for damage, nearly anything is raised: LZMAError, struct.error, ...
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        if not name:
            raise UserError(f"{path} is damaged or cut off ({reason}): expected a whole archive") from error
        raise UserError(f"{name} cannot be read from {path} ({reason}): expected a whole archive") from error
