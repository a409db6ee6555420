"""Write files atomically, and read untrusted files within bounds."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from thimble.errors import RunError, UserError

from .temporary import sweep_once, temporary_beside

MEBIBYTE = 2**20


@contextlib.contextmanager
def open_file(path: Path, at_most: int) -> Iterator[BinaryIO]:
    """Open an untrusted file for reading: it must be a regular file of bounded size.

    Named pipes, which could block for ever, and devices, which may never end, are refused without reading them.

    Args:
        path: the file; links are followed.
        at_most: the largest allowed size, in bytes.

    Raises:
        UserError: the file does not exist, cannot be read, is not a regular file, or is too large.
    """
    try:
        # Without O_NONBLOCK, opening a pipe blocks until another process writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: expected a file") from error
    except ValueError as error:  # the path contains a null character
        raise UserError(f"{path} is not a valid file name: {error}") from error
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror}; expected a readable file") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path} is {_kind(status.st_mode)}: expected a regular file")
        if status.st_size > at_most:
            raise UserError(f"{path} has {status.st_size:,} bytes: expected at most {at_most:,}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_file(path: Path, at_most: int) -> bytes:
    """Read an untrusted file, of at most ``at_most`` bytes: see ``open_file``.

    Raises:
        UserError: see ``open_file``; or the file grew while it was read, or could not be read to its end.
    """
    with open_file(path, at_most) as file:
        try:
            content = file.read(at_most + 1)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; expected a readable file") from error
    if len(content) > at_most:
        raise UserError(f"{path} grew while it was read: expected at most {at_most:,} bytes")
    return content


def _kind(mode: int) -> str:
    names = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return names.get(stat.S_IFMT(mode), "not a regular file")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name in the same folder, then rename it. Creates the folder if needed.

    Also deletes temporary files that killed processes left in that folder.

    Raises:
        RunError: the file could not be written. The temporary file is deleted.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_once(path.parent.absolute())
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # without it, a power cut could leave an empty file under the new name
        temporary.replace(path)
    except OSError as error:
        advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
        raise RunError(f"cannot write {path}: {error.strerror}; {advice} and try again") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Check, before the work, that a file could be written here. Creates nothing.

    Raises:
        UserError: the path is a folder, or its parent is not a folder, cannot be created or is not writable.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; expected the name of a file")
    check_parent(path)


def check_parent(path: Path) -> None:
    """Check that something could be made here. Creates nothing.

    Raises:
        UserError: the path's parent is not a folder, cannot be created or is not writable.
    """
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"cannot write {path}: {folder} is not a folder; expected a folder or an unused name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: no permission to write in {folder}; choose a folder of yours")
