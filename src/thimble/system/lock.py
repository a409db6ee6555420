"""Lock a folder, so that one process at a time works in it; the kernel frees the lock when its holder dies.

The lock is ``flock`` on the file ``.lock`` in the folder. It excludes other processes, and other threads of the same
process. Windows and some network drives have no such locks: there the lock keeps nobody out.
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
    """A folder's lock, held until ``release`` or the end of the process.

    Attributes:
        works: False if the file system or the operating system has no locks: then the lock keeps nobody out.

    Raises:
        UserError: another process or thread holds the lock, or no file can be created in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        for _ in range(_ATTEMPTS if fcntl is not None else 0):
            descriptor = _open(folder)
            try:
                if not _lock(folder, descriptor):
                    break
                # The last holder may have deleted the file after we opened it and before we locked it.
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
        """Free the lock and delete its file.

        Args:
            folder: the folder's present path; it may have been renamed since.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or descriptor not in _held:  # a forked child has the object, but not the lock
            return
        _held.discard(descriptor)
        with contextlib.suppress(OSError):
            if _is_still(folder / LOCK_FILE, descriptor):
                (folder / LOCK_FILE).unlink()
        os.close(descriptor)


def is_of_another(folder: Path) -> bool:
    """Whether a folder's lock file names another process. Inode numbers would not do: some drives change them."""
    try:
        found = (folder / LOCK_FILE).read_bytes()[:1000]
    except OSError:
        return False
    return found not in (b"", _signature())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock during the block.

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
    """Lock an open file; False if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise UserError(
                f"{folder} is in use by a training run{_by_whom(descriptor)}: wait until it ends, or stop it first"
            ) from error
        return False
    return True


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # not essential: only the message of a process that is kept out shows it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _signature(), 0)


def _signature() -> bytes:
    return f"process {os.getpid()} on {platform.node()}\n".encode()


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether a path still names the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _by_whom(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        found = os.pread(descriptor, 100, 0).decode("utf-8", "replace").strip()
        return f" ({found})" if found else ""
    return ""


def _forget() -> None:
    # A forked child, such as a DataLoader worker, inherits the descriptors. If it outlived its parent, it would keep
    # the locks.
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
