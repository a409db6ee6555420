"""A folder that one process at a time works in: a lock that the kernel gives back when its holder dies.

It is ``flock`` on the file ``.lock`` in the folder. Two holders exclude each other in two processes as in two threads
of one. On a network drive that has no locks, and on Windows, there is none, and nobody is kept out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from thimble.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"

_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_ATTEMPTS = 100
_held: set[int] = set()


class FolderLock:
    """The lock of a folder, held until ``release`` or the end of the process.

    Attributes:
        works: False where the file system or the operating system has no locks: then nobody is kept out.

    Raises:
        UserError: another process, or another thread, works in the folder; or no file can be made there.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        for _ in range(_ATTEMPTS if fcntl is not None else 0):
            descriptor = _open(folder)
            try:
                if not _lock(folder, descriptor):
                    break
                # The last holder may have deleted the file between its opening and its locking here.
                if _is_still(folder / LOCK_FILE, descriptor):
                    self._descriptor = descriptor
                    _held.add(descriptor)
                    _sign(descriptor)
                    break
            finally:
                if self._descriptor is None:
                    os.close(descriptor)
        self.works = self._descriptor is not None

    def release(self, folder: Path) -> None:
        """Let others in, and leave no file behind.

        Args:
            folder: where the folder is now, as its maker may have renamed it.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or descriptor not in _held:  # the second holds in a child of the process that locked
            return
        _held.discard(descriptor)
        with contextlib.suppress(OSError):
            if _is_still(folder / LOCK_FILE, descriptor):
                (folder / LOCK_FILE).unlink()
        os.close(descriptor)


def is_of_another(folder: Path) -> bool:
    """Whether a folder's lock has another process's name in it. Files are not compared: some drives renumber them."""
    try:
        found = (folder / LOCK_FILE).read_bytes()[:1000]
    except OSError:
        return False
    return found not in (b"", _signature())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock inside the block.

    Raises:
        UserError: see ``FolderLock``.
    """
    lock = FolderLock(folder)
    try:
        yield
    finally:
        lock.release(folder)


def _open(folder: Path) -> int:
    try:
        return os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; expected a folder to train in") from error


def _lock(folder: Path, descriptor: int) -> bool:
    """Lock an open file; False where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise UserError(
                f"{folder} is being trained{_by_whom(descriptor)}: wait until it ends, or stop it first"
            ) from error
        return False
    return True


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # it is only for whoever finds the folder locked
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _signature(), 0)


def _signature() -> bytes:
    return f"process {os.getpid()} on {platform.node()}\n".encode()


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether a path leads to the file that is open."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _by_whom(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        found = os.pread(descriptor, 100, 0).decode("utf-8", "replace").strip()
        return f" by {found}" if found else ""
    return ""


def _forget() -> None:
    # A forked child, such as a DataLoader's worker, has copies of the descriptors. If it outlived its parent, it would
    # hold the locks for ever.
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
