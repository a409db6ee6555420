"""Files: those that Thimble writes, whole or not at all, and those from outside, which may be anything."""

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
    """Open a file from outside for reading: a regular file of bounded size, however it was named.

    A named pipe, which would wait for ever, and a device, which may never end, are refused without being read.

    Args:
        path: the file; links are followed.
        at_most: the largest size that makes sense, in bytes.

    Raises:
        UserError: there is none, it cannot be read, or it is no such file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for someone to write to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: expected a file") from error
    except ValueError as error:  # a null character
        raise UserError(f"{path} is not the name of a file: {error}") from error
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror}; expected a file that can be read") from error
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
    """The bytes of a file from outside, as ``open_file`` bounds it.

    Raises:
        UserError: see ``open_file``; or it grew while it was read, or could not be read to its end.
    """
    with open_file(path, at_most) as file:
        try:
            content = file.read(at_most + 1)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; expected a file that can be read") from error
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
    return names.get(stat.S_IFMT(mode), "no regular file")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name beside its place, then rename it; make its folder where needed.

    What a killed process left of its own attempts in that folder is deleted.

    Raises:
        RunError: it could not be written. Nothing is left of the attempt.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_once(path.parent.absolute())
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the new name on an empty file
        temporary.replace(path)
    except OSError as error:
        advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
        raise RunError(f"cannot write {path}: {error.strerror}; {advice} and try again") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Find out before the work whether a file could be written here; nothing is made.

    Raises:
        UserError: it is a folder, or its folder is none, cannot be made or cannot be written to.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; expected the name of a file")
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"cannot write {path}: {folder} is no folder; expected one, or a name that is free")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: no permission for the folder {folder}; expected one of yours")
