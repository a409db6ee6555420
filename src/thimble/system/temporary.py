"""Temporary names beside the place that a file is meant for, and what to do about those that a killed process left.

A name says who made it: ``.thimble.<machine>.<process>.<number>.tmp``. It is the same length for every target, so that
a target may have as long a name as the disk allows.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import platform
import re
import time
from pathlib import Path

_ONE_DAY_SECONDS = 86_400
_NAME = re.compile(r"\.thimble\.([0-9a-f]{12})\.([0-9]{1,10})\.[0-9]{1,10}\.tmp")
_numbers = itertools.count()


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that no other thread, process or machine uses."""
    return path.with_name(f".thimble.{_machine()}.{os.getpid()}.{next(_numbers)}.tmp")


def abandoned_in(folder: Path) -> list[Path]:
    """The temporary files and folders in a folder whose maker is gone.

    Of this machine: those of processes that live no more. Of another one that shares the disk, whose processes cannot
    be seen from here: those that nobody has touched for a day.
    """
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            if name and _is_abandoned(entry, name[1], int(name[2])):
                found.append(Path(entry.path))
    return found


def sweep_once(folder: Path) -> None:
    """Delete a folder's abandoned temporary files, the first time that this process is about to write there."""
    if (os.getpid(), folder) in _swept:
        return
    _swept.add((os.getpid(), folder))
    for path in abandoned_in(folder):
        with contextlib.suppress(OSError):
            path.unlink()


_swept: set[tuple[int, Path]] = set()


def _is_abandoned(entry: os.DirEntry[str], machine: str, process: int) -> bool:
    if machine == _machine():
        return not _lives(process)
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ONE_DAY_SECONDS
    except OSError:
        return False


def _lives(process: int) -> bool:
    """Whether this machine has such a process; True where that cannot be asked."""
    if os.name != "posix":  # on Windows os.kill would send Ctrl-C instead of asking
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, for one
        return True
    return True


@functools.cache
def _machine() -> str:
    """This machine in 12 hexadecimal digits: host, boot and, within a container, its own numbering of processes."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:12]
