"""Name temporary files, and find those that killed processes left.

A temporary file lies in the folder of the file that it will become. Its name says who made it:
``.thimble.<machine>.<process>.<number>.tmp``. The name does not contain the target's name, which may be as long as the
disk allows.
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
    """A path in the same folder whose name no other thread, process or machine uses."""
    return path.with_name(f".thimble.{_machine()}.{os.getpid()}.{next(_numbers)}.tmp")


def abandoned_in(folder: Path) -> list[Path]:
    """List a folder's temporary files and folders whose process has ended.

    Other machines may share the disk. We cannot see their processes, so we count their files as abandoned once they
    have not changed for a day.
    """
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            if name and _is_abandoned(entry, name[1], int(name[2])):
                found.append(Path(entry.path))
    return found


def sweep_once(folder: Path) -> None:
    """Delete a folder's abandoned temporary files; only the first call of a process for a folder does anything."""
    if (os.getpid(), folder) in _swept:
        return
    _swept.add((os.getpid(), folder))
    for path in abandoned_in(folder):
        with contextlib.suppress(OSError):
            path.unlink()


_swept: set[tuple[int, Path]] = set()


def _is_abandoned(entry: os.DirEntry[str], machine: str, process: int) -> bool:
    if machine == _machine():
        return not is_running(process)
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ONE_DAY_SECONDS
    except OSError:
        return False


def is_running(process: int) -> bool:
    """Whether a process with this number runs on this machine; True if we cannot find out."""
    if os.name != "posix":  # on Windows os.kill would send Ctrl-C instead of asking
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # for example, it belongs to another user
        return True
    return True


@functools.cache
def _machine() -> str:
    """A hash of the host's name, its boot and its process namespace (containers have their own): 12 hex digits."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:12]
