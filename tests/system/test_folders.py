"""A folder of files is written whole or not at all, and never over files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from thimble.errors import RunError, UserError
from thimble.system.folders import check_folder, write_folder
from thimble.system.temporary import temporary_beside

FILES = {"a.txt": b"a", "src/b.c": b"b", "src/deep/c.h": b""}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("there", [False, True])
def test_a_new_and_an_empty_folder_are_filled(there: bool, tmp_path: Path) -> None:
    path = tmp_path / "some" / "project"
    if there:
        path.mkdir(parents=True)
    check_folder(path)
    write_folder(path, FILES)
    assert contents(path) == FILES
    assert [one.name for one in path.parent.iterdir()] == ["project"]


def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    dead, own = (
        tmp_path / temporary_beside(tmp_path / "x").name.replace(f".{os.getpid()}.", f".{process}.")
        for process in (4_194_399, os.getpid())
    )
    for folder in (dead, own):
        folder.mkdir()
        (folder / "half.c").write_text("half of")
    write_folder(tmp_path / "project", FILES)
    assert not dead.exists()
    assert own.exists()


def test_what_is_there_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.c").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, reason in (
        ("file", "it is a file; expected the name of a new folder"),
        ("full", "it is a folder with files; expected a new or an empty one"),
        ("dangling", "it is a file; expected the name of a new folder"),
        ("file/project", "file is not a folder; expected a folder or an unused name"),
    ):
        with pytest.raises(UserError) as error:
            check_folder(tmp_path / name)
        assert str(error.value).startswith(f"cannot write {tmp_path / name}: ")
        assert str(error.value).endswith(reason)
        assert "\n" not in str(error.value)


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thimble.system.files.os.access", lambda *_: False)
    with pytest.raises(UserError, match="no permission to write in"):
        check_folder(tmp_path / "project")


def test_files_that_came_meanwhile_stay(tmp_path: Path) -> None:
    path = tmp_path / "project"
    path.mkdir()
    (path / "mine.c").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*: Directory not empty; check the folder"):
        write_folder(path, FILES)
    assert contents(tmp_path) == {"project/mine.c": b"mine"}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("thimble.system.folders.os.fsync", full)
    with pytest.raises(RunError, match="No space left on device; free some space"):
        write_folder(tmp_path / "project", FILES)
    assert list(tmp_path.iterdir()) == []
