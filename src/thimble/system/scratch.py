"""Make a temporary folder, and report it in one line if its disk is full."""

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
"""Thimble never needs more temporary space. If something fails while less is free, we blame the disk: compilers and
libraries rarely report a full disk."""


class TemporaryFolderFull(RunError):
    """There is no room for temporary files."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder in ``$TMPDIR``, or in the system's folder for temporary files, and delete it after the block.

    Also deletes such folders that killed processes left there.

    Raises:
        TemporaryFolderFull: the folder cannot be made, or the block failed because the disk is full.
    """
    remedy = f"free some space, or set TMPDIR to a folder with {ENOUGH_BYTES / 1e6:.0f} MB"
    try:
        # The name holds this process's number, so that a later process can tell whether the folder is abandoned.
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
                f"the folder for temporary files, {place}, has {free / 1e6:.1f} MB left ({reason}): {remedy}"
            ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
