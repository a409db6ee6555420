"""Claim a run's folder for one process, so that no other process trains in it and nothing in it is lost.

A new run's folder is created and locked under a temporary name, then renamed. The file system renames atomically: if
several processes start a run with the same name at the same moment, exactly one gets it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from thimble.errors import RunError, UserError
from thimble.storage.run_folder import DATA_FILE, write_json
from thimble.system.lock import FolderLock, is_of_another
from thimble.system.temporary import abandoned_in, temporary_beside

from .config import TrainConfig
from .config_file import check_resumable, to_file
from .settings import RunConfig

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


class Claim:
    """A run's folder, held from before the data are read until after the weights are saved.

    An existing folder (to resume or to overwrite) is checked and locked at once, before anything is downloaded or
    built. ``begin`` creates a new folder, after everything else has been built.

    Args:
        config: the run's settings.
        resume: the folder of the run to resume; None starts a new run.
        first: whether this is the first process of the training; only the first creates and locks folders.

    Raises:
        UserError: the folder exists already, is not a run's, is in use, or the run cannot be resumed.
    """

    def __init__(self, config: TrainConfig, resume: Path | None, *, first: bool = True) -> None:
        self.resume = resume
        self.run: Path | None = None
        self._locks: list[tuple[FolderLock, Path]] = []
        if resume is not None:
            check_resumable(resume, config)  # before locking: never put a lock into a folder that is not a run's
            self.run = resume
            if first:
                self._lock(resume)
                try:
                    check_resumable(resume, config)  # the previous holder of the lock may have finished the run
                except UserError:
                    self.__exit__(None, None, None)
                    raise
        elif _is_taken(config.run) and first:
            assert config.run.name is not None
            self._lock(config.run.runs / config.run.name)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._locks:
            lock, folder = self._locks.pop()
            lock.release(folder)

    def begin(self, config: TrainConfig, environment: dict[str, Any], data: dict[str, Any]) -> Path:
        """Create a new run's folder, or use the resumed run's, and record the environment in it.

        Call it in the first process only. The folder appears complete, with settings, environment and lock. A run to
        be overwritten is deleted only after that.

        Args:
            config: the run's settings, for config.json.
            environment: the machine and versions, for environment.json.
            data: the source's record of the data, for data.json.

        Raises:
            UserError: the folder exists by now, or cannot be created.
            RunError: the disk is full. A run to be overwritten is untouched.
        """
        if self.resume is None:
            self.run = self._make(config, environment, data)
        assert self.run is not None
        _tidy(self.run.parent)
        if self.resume is not None:
            write_json(self.run / "environment.json", environment)
        return self.run

    def check(self) -> None:
        """Check, before writing to the run's folder, that it is still in its place.

        Raises:
            RunError: the folder was moved or deleted.
        """
        assert self.run is not None
        if not (self.run / "config.json").is_file() or is_of_another(self.run):
            raise RunError(
                f"{self.run} was moved or deleted during training: if it was moved, resume it in its new place with"
                " thimble train --resume FOLDER"
            )

    @property
    def has_locks(self) -> bool:
        """Whether locks keep other processes out; False on Windows and on network drives without locks."""
        return all(lock.works for lock, _ in self._locks)

    def _lock(self, folder: Path) -> None:
        self._locks.append((FolderLock(folder), folder))

    def _make(self, config: TrainConfig, environment: dict[str, Any], data: dict[str, Any]) -> Path:
        """Create a new run's folder and return its path."""
        runs = config.run.runs
        try:
            runs.mkdir(parents=True, exist_ok=True)
            draft = temporary_beside(runs / "run")
            try:
                made = draft / "new"
                made.mkdir(parents=True)
                write_json(made / "environment.json", environment)
                write_json(made / DATA_FILE, data)
                default = f"{config.network.model}-{Path(config.dataset.data).name}-{time.strftime('%Y%m%d-%H%M%S')}"
                write_json(made / "config.json", to_file(config))
                lock = FolderLock(made)
                try:
                    run = self._place(made, config.run, config.run.name or default)
                except BaseException:
                    lock.release(made)
                    raise
                self._locks.append((lock, run))
            finally:
                _discard(draft, runs)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise RunError(f"cannot create a run in {runs}: {error.strerror}; free some space") from error
            raise UserError(
                f"cannot create a run in {runs}: {error.strerror}; choose a folder that you can write to with --runs"
            ) from error
        return run

    def _place(self, made: Path, where: RunConfig, name: str) -> Path:
        """Rename the new folder to ``name``; if the user chose no name, append the first number that is free."""
        for number in itertools.count(1):
            run = where.runs / (name if number == 1 else f"{name}-{number}")
            if _is_taken(where) and self._locks:
                (made.parent / "old").mkdir()
                run.rename(made.parent / "old" / name)
            try:
                made.rename(run)
            except OSError as error:
                if error.errno not in _TAKEN and not isinstance(error, FileExistsError):
                    raise
                if where.name is not None:
                    raise _exists(run) from error
            else:
                return run
        raise AssertionError("there is always another number")


def _is_taken(where: RunConfig) -> bool:
    """Whether a run will be overwritten; False if the name is free or names an empty folder.

    Raises:
        UserError: the folder exists and ``overwrite`` is off, it is not a run's folder, or it cannot be read.
    """
    if where.name is None:
        return False
    run = where.runs / where.name
    try:
        if not os.path.lexists(run):
            run.stat(follow_symlinks=False)  # raises the reason, if it is not a missing file
        if run.is_symlink():
            raise UserError(f"{run} is a symbolic link: expected a folder; delete the link, or choose another --name")
        if run.is_dir() and not any(run.iterdir()):
            return False
        if not where.overwrite:
            raise _exists(run)
        if not (run / "config.json").is_file():
            raise UserError(
                f"{run} is not a run folder, it has no config.json: --overwrite deletes only run folders; choose"
                " another --name"
            )
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise UserError(f"--name {where.name!r}: {error}; expected a plain folder name") from error
    except OSError as error:
        raise UserError(
            f"cannot read {run}: {error.strerror}; expected a folder for runs, choose another with --runs"
        ) from error
    return True


def _exists(run: Path) -> UserError:
    return UserError(
        f"{run} exists: choose another --name, resume it with --resume {run}, or delete it with --overwrite"
    )


def _tidy(runs: Path) -> None:
    """Delete the temporary folders of processes that were killed while they created a run."""
    for draft in abandoned_in(runs):
        _discard(draft, runs)


def _discard(draft: Path, runs: Path) -> None:
    """Delete a temporary folder; first put back a run in it that was to be overwritten but was not."""
    with contextlib.suppress(OSError):
        for old in (draft / "old").iterdir():
            if not os.path.lexists(runs / old.name):
                old.rename(runs / old.name)
    shutil.rmtree(draft, ignore_errors=True)
