"""Temporary folders: gone after use, and a line where their disk is full, whoever found it out."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from thimble.errors import RunError, UserError
from thimble.system.scratch import TemporaryFolderFull, temporary_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_there_and_gone(place: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == place
        (folder / "file").write_bytes(b"x")
    assert not list(place.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_what_helps(place: Path, code: int) -> None:
    message = rf"^the folder for temporary files, {place}, has [\d.]+ MB left \(.*\): free some space, or set TMPDIR"
    with pytest.raises(RunError, match=message), temporary_folder():
        raise OSError(code, os.strerror(code))
    assert not list(place.iterdir())


def test_whatever_fails_on_a_disk_without_room_is_the_disks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilers and libraries fail in ways of their own."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=600_000))
    for error in (ValueError("odd\nproto"), RunError("network.c does not compile"), RuntimeError()):
        with pytest.raises(TemporaryFolderFull, match=r"has 0\.6 MB left \(.*\): free") as caught, temporary_folder():
            raise error
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"^mistake$"), temporary_folder():
        raise UserError("mistake")
    with pytest.raises(TemporaryFolderFull, match=r"^inner$"), temporary_folder():
        raise TemporaryFolderFull("inner")


def test_what_fails_on_a_disk_with_room_is_itself() -> None:
    with pytest.raises(ValueError, match=r"^odd$"), temporary_folder():
        raise ValueError("odd")


def test_a_place_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with (
        pytest.raises(
            RunError, match=r"^cannot make a temporary folder: No such file or directory; free some space, or"
        ),
        temporary_folder(),
    ):
        pass


def test_what_a_killed_process_left_is_deleted(place: Path) -> None:
    with temporary_folder() as folder:
        dead = place / folder.name.replace(f".{os.getpid()}.", ".4194399.")  # above the largest number of a process
        (dead / "deep").mkdir(parents=True)
        (dead / "deep" / "file").write_bytes(b"x")
        (place / "somebody's").mkdir()
        with temporary_folder():
            assert sorted(path.name for path in place.iterdir() if path.name != folder.name)[-1] == "somebody's"
            assert not dead.exists()
            assert folder.exists()
    assert [path.name for path in place.iterdir()] == ["somebody's"]
