"""CIFAR-10 over the network, from a server on 127.0.0.1: good transfers, broken ones, archives that mean harm."""

from __future__ import annotations

import errno
import hashlib
import http.server
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cifar10_files import DEAD, RECORDS, archive, declare, message, small_and_offline
from download_server import Server, downloaded

from thimble.data import cifar10, download
from thimble.data.source import DataUnavailable
from thimble.data.sources import load_dataset
from thimble.errors import RunError, UserError

__all__ = ["small_and_offline"]


def test_downloads_once_into_a_new_folder(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", archive()),))
    root = tmp_path / "deep" / "er"
    assert len(load_dataset("cifar10", "train", root)) == 5 * RECORDS
    assert downloaded(root)
    load_dataset("cifar10", "test", root)
    assert server.requests == ["/a"]


def test_progress_bar_goes_to_stderr(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", archive()),))
    load_dataset("cifar10", "test", tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    load_dataset("cifar10", "test", tmp_path / "loud", progress=True)
    captured = capfd.readouterr()
    assert "100%" in captured.err
    assert captured.out == ""


def test_own_source_goes_first_and_the_next_steps_in(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "SOURCES", (DEAD, server.serve("/second", archive())))
    monkeypatch.setenv("THIMBLE_CIFAR10_URL", server.url("/lab"))
    load_dataset("cifar10", "test", tmp_path)
    assert server.requests == ["/lab", "/second"]
    assert downloaded(tmp_path)


def test_truncated_transfer_leaves_nothing_and_the_next_run_works(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = archive()
    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", body[: len(body) // 2], declared=len(body)),))
    assert "/a (the transfer broke off)" in message(DataUnavailable, tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.serve("/a", body)
    load_dataset("cifar10", "test", tmp_path)
    assert downloaded(tmp_path)


def test_wrong_size_and_wrong_checksum_are_named(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = archive()
    tampered = body[:-1] + bytes([body[-1] ^ 1])
    monkeypatch.setattr(
        cifar10, "SOURCES", (server.serve("/portal", b"<html>log in</html>"), server.serve("/tampered", tampered))
    )
    text = message(DataUnavailable, tmp_path)
    assert f"/portal (delivered 19 bytes, expected {len(body):,})" in text
    found = hashlib.md5(tampered, usedforsecurity=False).hexdigest()
    assert f"/tampered (delivered a file with MD5 {found}, expected {cifar10.ARCHIVE_MD5})" in text
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", found)
    assert f"delivered a file with SHA256 {hashlib.sha256(tampered).hexdigest()}" in message(DataUnavailable, tmp_path)


def test_every_source_is_named_with_its_reason_and_what_to_do(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cifar10, "SOURCES", (DEAD, server.url("/gone"), "http://thimble.invalid/x", "ftp://127.0.0.1/x")
    )
    text = message(DataUnavailable, tmp_path)
    assert f"{DEAD} (no connection)" in text
    assert "/gone (HTTP 404 Not Found)" in text
    assert "http://thimble.invalid/x (" in text
    assert "ftp://127.0.0.1/x (No connection adapters" in text
    assert all(remedy in text for remedy in ("--data-dir", "THIMBLE_DATA", "--data shapes10", str(tmp_path)))


def test_silent_source_is_given_up(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SILENCE_SECONDS", 0.1)
    enough = threading.Event()

    def say_nothing(handler: http.server.BaseHTTPRequestHandler) -> None:
        enough.wait(5)

    server.routes["/silent"] = say_nothing
    monkeypatch.setattr(cifar10, "SOURCES", (server.url("/silent"),))
    assert "/silent (silent for 0.1 s)" in message(DataUnavailable, tmp_path)
    enough.set()


def special(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    member.size = 4 if kind == tarfile.REGTYPE else 0
    return member


@pytest.mark.parametrize(
    "member",
    [
        special("../evil"),
        special("cifar-10-batches-bin/../../evil"),
        special("/tmp/thimble-evil"),
        special("cifar-10-batches-bin/test_batch.bin", tarfile.SYMTYPE, "../../evil"),
        special("cifar-10-batches-bin", tarfile.SYMTYPE, ".."),
        special("cifar-10-batches-bin/test_batch.bin", tarfile.LNKTYPE, "../evil"),
        special("cifar-10-batches-bin/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_archive_that_reaches_outside_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, member: tarfile.TarInfo
) -> None:
    body = archive([(member, b"evil"[: member.size])])
    declare(monkeypatch, body)
    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", body),))
    root = tmp_path / "root"
    assert repr(member.name) in message(UserError, root)
    assert list(root.iterdir()) == []
    assert list(tmp_path.iterdir()) == [root]
    assert not Path("/tmp/thimble-evil").exists()


def test_archive_with_an_endless_or_broken_file_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    member.size = 3073 * RECORDS + 1
    for body, found in [
        (archive([(member, bytes(member.size))]), f"has {member.size:,} bytes: expected {3073 * RECORDS:,}"),
        (b"not an archive at all", "cannot unpack"),
        (archive()[:-2000], "cannot unpack"),
    ]:
        declare(monkeypatch, body)
        monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", body),))
        assert found in message(UserError, tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_interrupted_unpacking_leaves_nothing(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", archive()),))
    written: list[int] = []
    copy = shutil.copyfileobj

    def stop_at_the_third(*arguments: Any) -> None:
        written.append(1)
        if len(written) == 3:
            raise failure
        copy(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", stop_at_the_third)
        if isinstance(failure, OSError):
            text = message(RunError, tmp_path)
            assert "No space left on device" in text
            assert "--data-dir" in text
        else:
            with pytest.raises(KeyboardInterrupt):
                load_dataset("cifar10", "train", tmp_path)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []
    load_dataset("cifar10", "train", tmp_path)
    assert downloaded(tmp_path)


def test_stale_temporary_folder_does_no_harm(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", archive()),))
    stale = tmp_path / ".cifar10-killed" / "cifar-10-batches-bin"
    stale.mkdir(parents=True)
    (stale / "data_batch_1.bin").write_bytes(b"half")
    assert len(load_dataset("cifar10", "train", tmp_path)) == 5 * RECORDS


def test_many_at_once_do_no_harm(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    body = archive()
    server.serve("/a", body)
    respond = server.routes["/a"]
    together = threading.Barrier(4, timeout=10)

    def hold_back(handler: http.server.BaseHTTPRequestHandler) -> None:
        together.wait()  # so that every download runs while the others do
        respond(handler)

    server.routes["/a"] = hold_back
    monkeypatch.setattr(cifar10, "SOURCES", (server.url("/a"),))
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda _: len(load_dataset("cifar10", "train", tmp_path)), range(4)))
    assert sizes == [5 * RECORDS] * 4
    assert server.requests == ["/a"] * 4
    assert downloaded(tmp_path)
