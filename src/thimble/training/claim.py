"""A run's folder, claimed by one process: nothing in it is lost, and no other process trains in it.

A new run is made whole under a temporary name, locked, and then renamed to its place, which the file system does at
once and for one process only. Of many that begin in the same second under the same name, one has it.
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
    """The folder of a training, from before its data are read until after its weights are saved.

    With ``resume``, or to overwrite, the folder that exists is locked at once, and what is wrong with it told, before
    anything is downloaded or built. A new folder is made by ``begin``, after all else has been built.

    Args:
        config: the run's settings.
        resume: the folder of the run to go on with; None begins a new one.
        first: whether this is the first of the training's processes, which alone makes and locks folders.

    Raises:
        UserError: the folder exists, or is none, or is being trained in, or the run cannot be resumed.
    """

    def __init__(self, config: TrainConfig, resume: Path | None, *, first: bool = True) -> None:
        self.resume = resume
        self.run: Path | None = None
        self._locks: list[tuple[FolderLock, Path]] = []
        if resume is not None:
            check_resumable(resume, config)  # no lock is put into a folder that is no run's
            self.run = resume
            if first:
                self._lock(resume)
                try:
                    check_resumable(resume, config)  # the one that held it may have finished the run since
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
        """Make the folder of a new run, or take that of the resumed one, and write down where it is trained.

        Only in the first process. Settings, environment and lock are in the folder when it appears. What is to be
        overwritten is deleted after that.

        Args:
            config: the run's settings, for config.json.
            environment: where it is trained, for environment.json.
            data: what its source records of the data, for data.json.

        Raises:
            UserError: the folder exists by now, or none can be made there.
            RunError: the disk is full. What was to be overwritten is untouched.
        """
        if self.resume is None:
            self.run = self._make(config, environment, data)
        assert self.run is not None
        _tidy(self.run.parent)
        if self.resume is not None:
            write_json(self.run / "environment.json", environment)
        return self.run

    def check(self) -> None:
        """Find out whether the run is still where it was, before anything is written to it.

        Raises:
            RunError: it was moved or deleted.
        """
        assert self.run is not None
        if not (self.run / "config.json").is_file() or is_of_another(self.run):
            raise RunError(
                f"{self.run} was moved or deleted while it was trained: its last state is where the folder is now;"
                " go on with thimble train --resume FOLDER"
            )

    @property
    def has_locks(self) -> bool:
        """Whether other processes are kept out; False on a network drive without locks, and on Windows."""
        return all(lock.works for lock, _ in self._locks)

    def _lock(self, folder: Path) -> None:
        self._locks.append((FolderLock(folder), folder))

    def _make(self, config: TrainConfig, environment: dict[str, Any], data: dict[str, Any]) -> Path:
        """A new run's folder, in its place."""
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
                raise RunError(f"cannot make a run in {runs}: {error.strerror}; free some space") from error
            raise UserError(
                f"cannot make a run in {runs}: {error.strerror}; expected a folder to write to, see --runs"
            ) from error
        return run

    def _place(self, made: Path, where: RunConfig, name: str) -> Path:
        """Rename the folder made to the run's name; without a name of its own, to the first that is free."""
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
    """Whether a run is to be overwritten; False if the name is free, or leads to an empty folder.

    Raises:
        UserError: the folder exists and ``overwrite`` is off, or it holds something that is no run, or it is barred.
    """
    if where.name is None:
        return False
    run = where.runs / where.name
    try:
        if not os.path.lexists(run):
            run.stat(follow_symlinks=False)  # tells why, if it is not that there is none
        if run.is_symlink():
            raise UserError(f"{run} is a symbolic link: expected a folder; delete the link, or choose another --name")
        if run.is_dir() and not any(run.iterdir()):
            return False
        if not where.overwrite:
            raise _exists(run)
        if not (run / "config.json").is_file():
            raise UserError(f"{run} is no run folder: expected one with a config.json; --overwrite deletes only those")
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise UserError(f"--name {where.name!r}: {error}; expected a plain folder name") from error
    except OSError as error:
        raise UserError(f"cannot look at {run}: {error.strerror}; expected a folder for runs, see --runs") from error
    return True


def _exists(run: Path) -> UserError:
    return UserError(f"{run} exists: choose another --name, or --resume {run}, or --overwrite to lose it")


def _tidy(runs: Path) -> None:
    """Delete what processes left that were killed while they began a run."""
    for draft in abandoned_in(runs):
        _discard(draft, runs)


def _discard(draft: Path, runs: Path) -> None:
    """Delete the folder in which a run was made; a run that was to be overwritten, and was not, goes back first."""
    with contextlib.suppress(OSError):
        for old in (draft / "old").iterdir():
            if not os.path.lexists(runs / old.name):
                old.rename(runs / old.name)
    shutil.rmtree(draft, ignore_errors=True)
