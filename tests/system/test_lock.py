"""The lock of a folder: one holder, and none after its death."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from thimble.errors import UserError
from thimble.system import lock
from thimble.system.lock import LOCK_FILE, FolderLock, locked


def test_a_second_holder_is_refused_in_a_thread_too(tmp_path: Path) -> None:
    refused: list[str] = []

    def attempt() -> None:
        try:
            FolderLock(tmp_path)
        except UserError as error:
            refused.append(str(error))

    with locked(tmp_path):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
        attempt()
    assert len(refused) == 2
    assert f"{tmp_path} is in use by a training run (process {os.getpid()} on " in refused[0]
    assert not (tmp_path / LOCK_FILE).exists()
    with locked(tmp_path):
        pass


def test_a_killed_holder_locks_no_longer_though_a_child_of_it_lives(tmp_path: Path) -> None:
    """The child is forked, as a DataLoader's worker is."""
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom thimble.system.lock import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1]))\n"
        "if not os.fork():\n    print(os.getpid(), flush=True)\n"  # the child's: it has let the lock go by then
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(UserError, match=rf"\(process {holder.pid} on "):
                FolderLock(tmp_path)
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # it lives
            with locked(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_neither_holds_nor_releases(tmp_path: Path) -> None:
    held = FolderLock(tmp_path)
    child = os.fork()
    if child == 0:
        held.release(tmp_path)
        os._exit(0 if (tmp_path / LOCK_FILE).exists() else 1)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(UserError):
        FolderLock(tmp_path)
    held.release(tmp_path)
    held.release(tmp_path)  # once more does no harm


def test_a_holder_that_deletes_the_file_keeps_the_next_one_from_locking_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FolderLock(tmp_path)
    real = fcntl.flock
    calls = 0

    def late(descriptor: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:  # opened before the first holder went, locked after
            first.release(tmp_path)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = FolderLock(tmp_path)
    monkeypatch.setattr(fcntl, "flock", real)
    assert calls == 2
    with pytest.raises(UserError):
        FolderLock(tmp_path)
    second.release(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_without_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def none(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    one, other = FolderLock(tmp_path), FolderLock(tmp_path)
    assert not one.works
    one.release(tmp_path)
    other.release(tmp_path)
    monkeypatch.setattr(lock, "fcntl", None)  # Windows
    assert not FolderLock(tmp_path).works


def test_files_whose_identity_changes_do_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network drives."""
    monkeypatch.setattr(os.path, "samestat", lambda *_: False)
    assert not FolderLock(tmp_path).works


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write to .*nowhere: No such file or directory; expected a folder"):
        FolderLock(tmp_path / "nowhere")
