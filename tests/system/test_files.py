"""Files that Thimble writes, and files from outside, which may be anything."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from thimble.errors import RunError, UserError
from thimble.system.files import read_file, write_atomically


def test_a_file_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "file", 7) == b"content"
    assert read_file(tmp_path / "link", 7) == b"content"


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(10**12)  # a hole, which takes no room
    with pytest.raises(UserError, match=r"file has 1,000,000,000,000 bytes: expected at most 1,000$"):
        read_file(tmp_path / "file", 1000)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe is a named pipe: expected a regular file$"):
        read_file(tmp_path / "pipe", 1000)
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"zero is a device: expected a regular file$"):
        read_file(tmp_path / "zero", 1000)
    with pytest.raises(UserError, match=r"is a folder: expected a regular file$"):
        read_file(tmp_path, 1000)
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(UserError, match=r"^cannot open socket: .*; expected a readable file$"):
            read_file(Path("socket"), 1000)


def test_a_file_of_proc_that_grows_is_bounded() -> None:
    """Its size is 0, whatever it holds."""
    with pytest.raises(UserError, match=r"grew while it was read: expected at most 10 bytes$"):
        read_file(Path("/proc/self/status"), 10)


@pytest.mark.parametrize("name", ["missing", "deep/er/missing"])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"missing does not exist: expected a file$"):
        read_file(tmp_path / name, 1000)


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a valid file name: embedded null byte$"):
        read_file(tmp_path / "a\0b", 1000)
    with pytest.raises(UserError, match=r"^cannot open .*: File name too long; expected"):
        read_file(tmp_path / ("a" * 300), 1000)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=r"^cannot open .*: Too many levels of symbolic links; expected"):
        read_file(tmp_path / "loop", 1000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "file").chmod(0)
    with pytest.raises(UserError, match=r"^cannot open .*: Permission denied; expected a readable file$"):
        read_file(tmp_path / "file", 1000)


def test_writing_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    write_atomically(path, "first é")
    assert path.read_text(encoding="utf-8") == "first é"
    write_atomically(path, b"\x00second")
    assert path.read_bytes() == b"\x00second"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(RunError, match=r"^cannot write .*; check the folder and try again$"):
        write_atomically(tmp_path / "run" / "file.txt", "text")
    with pytest.raises(RunError, match=r"^cannot write .*; check the folder and try again$"):
        write_atomically(tmp_path / "run" / "deeper" / "file.txt", "text")
    assert (tmp_path / "run").read_text() == "in the way"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(RunError, match=r"^cannot write .*; check the folder and try again$"):
        write_atomically(tmp_path / "file.txt", "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]
