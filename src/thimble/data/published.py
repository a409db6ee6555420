"""Fetch the published files of a dataset: from known addresses, of known sizes, with known checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from thimble.errors import RunError, UserError
from thimble.system.arguments import expanded
from thimble.system.cache_folder import cache_folder

from .download import DownloadError, download
from .source import DataUnavailable


@dataclass(frozen=True)
class File:
    """A published file.

    Attributes:
        name: its name below each address.
        num_bytes: its size.
        md5: its checksum, as its authors publish it. It guards against damage, not against forgery.
        sha256: its checksum, as others publish it.
    """

    name: str
    num_bytes: int
    md5: str
    sha256: str


def data_folders(folder: Path | None, name: str) -> tuple[Path, ...]:
    """Where a dataset's files may be: ``folder``; else NAME in $THIMBLE_DATA, or that itself; else in the user's cache.

    Downloads go to the first.
    """
    if folder is not None:
        return (expanded(folder),)
    chosen = os.environ.get("THIMBLE_DATA")
    return (expanded(chosen) / name, expanded(chosen)) if chosen else (cache_folder() / name,)


def fetch(title: str, files: Iterable[File], addresses: Sequence[str], folder: Path, *, progress: bool = False) -> None:
    """Download files into a folder, each from the first address that delivers it whole.

    A file appears when it is whole. Several processes may do this at once.

    Args:
        title: the dataset's name for messages.
        files: what to download.
        addresses: of the folders that hold the files, tried in this order.
        folder: is made.
        progress: show progress bars on stderr.

    Raises:
        DataUnavailable: no address delivered one of the files.
        RunError: a file cannot be written.
        UserError: the folder cannot be used.
    """
    with _disk(title, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".thimble-", dir=folder, ignore_cleanup_errors=True) as temporary:
            for file in files:
                received = _receive(title, file, addresses, Path(temporary), folder, progress)
                received.replace(folder / file.name)


def fetch_unpacked(
    title: str,
    archive: File,
    addresses: Sequence[str],
    members: Mapping[str, int],
    folder: Path,
    *,
    progress: bool = False,
) -> None:
    """Download a .tar.gz and unpack known files of it into a folder, under their own last names; others are ignored.

    A file appears when it is whole. Several processes may do this at once.

    Args:
        title: the dataset's name for messages.
        archive: what to download.
        addresses: of the folders that hold it, tried in this order.
        members: the size of each wanted file, by its path in the archive.
        folder: is made.
        progress: show a progress bar on stderr.

    Raises:
        DataUnavailable: no address delivered the archive.
        UserError: it is damaged, lacks a file, or a file has another size; the folder cannot be used.
        RunError: a file cannot be written.
    """
    with _disk(title, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".thimble-", dir=folder, ignore_cleanup_errors=True) as temporary:
            received = _receive(title, archive, addresses, Path(temporary), folder, progress)
            for path in _unpack(title, received, members, Path(temporary)):
                path.replace(folder / path.name)


def _unpack(title: str, archive: Path, members: Mapping[str, int], folder: Path) -> list[Path]:
    wanted, found = dict(members), []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                size = wanted.pop(member.name, None)
                if size is None:
                    continue
                source = tar.extractfile(member) if member.isfile() and member.size == size else None
                if source is None:
                    raise UserError(f"{member.name} in the archive of {title} is not a file of {size:,} bytes")
                found.append(folder / Path(member.name).name)
                with source, found[-1].open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"cannot unpack the archive of {title} ({error}): run again to download it anew") from error
    if wanted:
        raise UserError(f"the archive of {title} lacks {next(iter(wanted))}: run again to download it anew")
    return found


def receive(urls: Iterable[str], file: File, folder: Path, *, progress: bool = False) -> tuple[Path | None, list[str]]:
    """Download a file from the first URL that delivers it whole.

    Args:
        urls: tried in this order, once each.
        file: what they should deliver.
        folder: where it is written.
        progress: show a progress bar on stderr.

    Returns:
        the file, None if no URL delivered it; and what each URL before it did wrong, in words.
    """
    failures = []
    for number, url in enumerate(urls):
        # One file per URL: the thread of a URL that was given up may still have its file open.
        received = folder / f"{number}-{file.name}"
        try:
            download(url, received, file.num_bytes, progress=progress)
            _verify(received, file)
        except DownloadError as error:
            failures.append(f"{url} ({error})")
            received.unlink(missing_ok=True)
        else:
            return received, failures
    return None, failures


def _receive(title: str, file: File, addresses: Sequence[str], temporary: Path, folder: Path, progress: bool) -> Path:
    urls = [f"{address}{file.name}" for address in addresses]
    received, failures = receive(urls, file, temporary, progress=progress)
    if received is None:
        raise DataUnavailable(
            f"{title} is not in {folder} and no source delivered {file.name}: {'; '.join(failures)}; go online and run"
            " again, or name a folder that holds its files with --data-dir"
        )
    return received


def _verify(path: Path, file: File) -> None:
    size = path.stat().st_size
    if size != file.num_bytes:
        raise DownloadError(f"delivered {size:,} bytes, expected {file.num_bytes:,}")
    for algorithm, expected in (("md5", file.md5), ("sha256", file.sha256)):
        with path.open("rb") as content:
            # "Not for security", because machines in FIPS mode would refuse MD5 otherwise.
            digest = hashlib.file_digest(content, lambda: hashlib.new(algorithm, usedforsecurity=False))  # noqa: B023
        if digest.hexdigest() != expected:
            raise DownloadError(f"delivered a file with {algorithm.upper()} {digest.hexdigest()}, expected {expected}")


@contextmanager
def _disk(title: str, folder: Path) -> Iterator[None]:
    """Tell a mistake, such as a folder that must not be written to, from a failure, such as a full disk."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or folder}: {error.strerror or error}"
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or error.errno == errno.EROFS:
            raise UserError(f"{what}: expected a folder for {title}; name another with --data-dir") from error
        raise RunError(f"{what}, while writing {title} to {folder}; free some space, or set --data-dir") from error
