"""Temporary names, and what killed processes left of them."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thimble.system import temporary
from thimble.system.files import write_atomically
from thimble.system.temporary import abandoned_in, temporary_beside

DEAD = 4_194_399  # above the largest number that Linux gives a process


def left_behind(folder: Path, process: int, machine: str | None = None) -> Path:
    """A file as a writer leaves it that is killed."""
    name = temporary_beside(folder / "x").name.replace(f".{os.getpid()}.", f".{process}.")
    path = folder / (name if machine is None else re.sub(r"[0-9a-f]{12}", machine, name))
    path.write_bytes(b"half of")
    return path


def test_no_two_names_are_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: temporary_beside(tmp_path / "x"), range(1000)))
    assert len(set(names)) == 1000


def test_a_target_may_have_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_atomically(path, "whole")
    assert path.read_text() == "whole"


def test_only_what_dead_processes_of_this_machine_left_is_deleted(tmp_path: Path) -> None:
    dead, own, parent = (left_behind(tmp_path, process) for process in (DEAD, os.getpid(), os.getppid()))
    elsewhere = left_behind(tmp_path, DEAD, "0123456789ab")
    others = [tmp_path / name for name in (".x.123.tmp", "thimble.tmp", ".thimble.tmp", f"{dead.name}.txt")]
    for other in others:
        other.write_text("somebody's")
    assert abandoned_in(tmp_path) == [dead]
    write_atomically(tmp_path / "config.json", "{}")
    assert not dead.exists()
    assert all(path.exists() for path in (own, parent, elsewhere, *others))


def test_another_machines_are_deleted_after_a_day(tmp_path: Path) -> None:
    elsewhere = left_behind(tmp_path, os.getpid(), "0123456789ab")
    assert abandoned_in(tmp_path) == []
    yesterday = time.time() - 90_000
    os.utime(elsewhere, (yesterday, yesterday))
    assert abandoned_in(tmp_path) == [elsewhere]


def test_a_folder_that_cannot_be_listed_or_emptied_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert abandoned_in(tmp_path / "nowhere") == []
    folder = left_behind(tmp_path, DEAD)
    folder.unlink()
    folder.mkdir()  # of a run that was being begun; where runs are begun, claim.py deletes it
    write_atomically(tmp_path / "x", "whole")
    assert folder.is_dir()


def test_where_processes_cannot_be_asked_for_all_of_them_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(tmp_path, DEAD)
    monkeypatch.setattr(temporary.os, "name", "nt")  # type: ignore[attr-defined]
    assert abandoned_in(tmp_path) == []


@pytest.mark.parametrize("content", ["x" * 100_000])
def test_threads_that_write_one_file_leave_one_of_them_whole(tmp_path: Path, content: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda letter: write_atomically(tmp_path / "x", content.replace("x", letter)), "abcdefgh" * 3))
    found = (tmp_path / "x").read_text()
    assert len(found) == 100_000
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
