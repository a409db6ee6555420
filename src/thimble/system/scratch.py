"""A folder for what is gone again in a moment, and a line that says so if its disk is full."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thimble.errors import RunError, UserError

from .temporary import abandoned_in, temporary_beside

ENOUGH_BYTES = 16 * 2**20
"""What nothing of ours needs more of. If something fails on a disk with less, the disk is the reason: compilers and
libraries hardly ever say it."""


class TemporaryFolderFull(RunError):
    """There is no room for temporary files."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder under ``$TMPDIR``, else the system's own, and delete it after the block.

    What killed processes left of theirs there is deleted too.

    Raises:
        TemporaryFolderFull: it cannot be made, or what failed in the block failed for want of room in it.
    """
    remedy = f"free some space, or set TMPDIR to a folder with {ENOUGH_BYTES / 1e6:.0f} MB"
    try:
        # Named after this process, so that it can be told from those of processes that are gone.
        folder = temporary_beside(Path(tempfile.gettempdir()) / "folder")
        for abandoned in abandoned_in(folder.parent):
            shutil.rmtree(abandoned, ignore_errors=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise TemporaryFolderFull(f"cannot make a temporary folder: {error.strerror}; {remedy}") from error
    try:
        try:
            yield folder
        except (UserError, TemporaryFolderFull):
            raise
        except Exception as error:
            free = shutil.disk_usage(folder).free
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            if not full and free >= ENOUGH_BYTES:
                raise
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            place = folder.parent
            raise TemporaryFolderFull(
                f"{place}, where temporary files go, has {free / 1e6:.1f} MB left ({reason}): {remedy}"
            ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
