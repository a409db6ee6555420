"""Write a folder of files whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from thimble.errors import RunError, UserError

from .files import check_parent
from .temporary import abandoned_in, temporary_beside


def check_folder(path: Path) -> None:
    """Check, before the work, that a folder could be written here. Creates nothing.

    Raises:
        UserError: the path is a file or a folder with files, or its parent cannot be written.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise UserError(f"cannot write {path}: it is a file; expected the name of a new folder")
    check_parent(path)
    try:
        if path.is_dir() and next(path.iterdir(), None) is not None:
            raise UserError(f"cannot write {path}: it is a folder with files; expected a new or an empty one")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; expected a new or an empty folder") from error


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a temporary folder beside, then rename it. Creates the parent folder if needed.

    Args:
        path: the folder: a new name, or an empty folder.
        files: each file's content by its path in the folder, with ``/``.

    Raises:
        RunError: the folder could not be written, or has got files meanwhile. The temporary folder is deleted.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in abandoned_in(path.parent.absolute()):
            shutil.rmtree(abandoned, ignore_errors=True)
        temporary.mkdir()
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            with (temporary / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if path.is_dir():
            path.rmdir()  # only if it is empty
        temporary.rename(path)
    except OSError as error:
        advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
        raise RunError(f"cannot write {path}: {error.strerror}; {advice} and try again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
