"""CIFAR-10 on disk and over the network, with small files of the same layout; no test reaches beyond 127.0.0.1."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thimble.config import RunError, UserError
from thimble.data import DataUnavailable, cifar10, data_folder, load_dataset

RECORDS = 20
DEAD = "http://127.0.0.1:9/cifar-10-binary.tar.gz"  # the discard port: refused at once

as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")


def records(seed: int) -> bytes:
    """A file of ``RECORDS`` records, every class equally often, with pixels that follow from the seed."""
    random = np.random.RandomState(seed)
    values = random.randint(0, 256, (RECORDS, 3073), dtype=np.uint8)
    values[:, 0] = random.permutation(np.arange(RECORDS) % 10)
    return values.tobytes()


def files() -> dict[str, bytes]:
    content = {f"data_batch_{number}.bin": records(number) for number in range(1, 6)}
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return {**content, "test_batch.bin": records(6), "batches.meta.txt": ("\n".join(names) + "\n\n").encode()}


def write_folder(folder: Path, **changes: bytes | None) -> Path:
    """Write the data files into ``folder``; a change of ``test_batch`` replaces that file, or leaves it out if None."""
    folder.mkdir(parents=True)
    for name, content in files().items():
        changed = changes.get(name.split(".")[0], content)
        if changed is not None:
            (folder / name).write_bytes(changed)
    return folder


def archive(extra: list[tuple[tarfile.TarInfo, bytes]] | None = None) -> bytes:
    """A .tar.gz of the data files as the official one is made, preceded by ``extra`` members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for member, content in extra or []:
            tar.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in {**files(), "readme.html": b"<html></html>"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Server:
    """An HTTP server on 127.0.0.1 whose paths are functions of the request handler; counts what was asked for."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                route = outer.routes.get(self.path)
                if route is None:
                    self.send_error(404)
                else:
                    route(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.httpd.server_address[1]}{path}"

    def serve(self, path: str, body: bytes, declared: int | None = None) -> str:
        """Serve ``body`` at ``path``, with a Content-Length that may lie; give the address."""

        def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(declared or len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.routes[path] = respond
        return self.url(path)

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def small_and_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", RECORDS)
    monkeypatch.setattr(cifar10, "SOURCES", (DEAD,))
    monkeypatch.delenv("THIMBLE_CIFAR10_URL", raising=False)
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path / "from-environment"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    declare(monkeypatch, archive())


def declare(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Make ``body`` the one archive that is expected."""
    monkeypatch.setattr(cifar10, "ARCHIVE_BYTES", len(body))
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(body, usedforsecurity=False).hexdigest())
    monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", hashlib.sha256(body).hexdigest())


def message(kind: type[Exception], data_dir: Path | None, part: Any = "train") -> str:
    """The one line with which loading fails."""
    with pytest.raises(kind) as caught:
        load_dataset("cifar10", part, data_dir)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


# On disk


def test_reads_pixels_and_labels_as_they_are(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin")
    train = load_dataset("cifar10", "train", tmp_path)
    assert train.images.shape == (5 * RECORDS, 3, 32, 32)
    assert train.labels.dtype == torch.int64
    third = records(3)
    assert train.labels[2 * RECORDS + 4] == third[4 * 3073]
    # Channel by channel, row by row: pixel (row 2, column 5) of the green channel of the file's fifth image.
    assert train.images[2 * RECORDS + 4, 1, 2, 5] == third[4 * 3073 + 1 + 1024 + 2 * 32 + 5]
    test = load_dataset("cifar10", "test", tmp_path)
    assert len(test) == RECORDS
    assert test.images.numpy().tobytes() == np.frombuffer(records(6), np.uint8).reshape(-1, 3073)[:, 1:].tobytes()
    assert (test.classes[0], test.classes[9], test.mean[0], test.std[2]) == ("airplane", "truck", 0.4914, 0.26159)


def test_takes_the_folder_itself_or_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "anything")
    assert len(load_dataset("cifar10", "test", folder)) == RECORDS
    monkeypatch.setenv("THIMBLE_DATA", str(folder))
    assert len(load_dataset("cifar10", "test")) == RECORDS
    write_folder(tmp_path / "cifar-10-batches-bin", batches=None)
    assert len(load_dataset("cifar10", "test", tmp_path)) == RECORDS


def test_data_folder_prefers_argument_then_environment_then_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THIMBLE_DATA", "/from/environment")
    assert data_folder(Path("/given")) == Path("/given")
    assert data_folder() == Path("/from/environment")
    monkeypatch.setenv("THIMBLE_DATA", "")
    assert data_folder().name == "thimble"
    assert data_folder(Path("~/x")) == Path.home() / "x"


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_4", "test_batch"])
def test_missing_file_is_named_whichever_part_is_asked_for(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin", **{name: None})
    for part in ("train", "test"):
        text = message(UserError, tmp_path, part)
        assert f"{name}.bin is missing" in text
        assert f"delete {tmp_path / 'cifar-10-batches-bin'} and run again" in text


@pytest.mark.parametrize("length", [0, 3073 * RECORDS - 1, 3073 * RECORDS + 3073])
def test_truncated_or_swollen_file_is_named(tmp_path: Path, length: int) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin", data_batch_2=(records(2) * 2)[:length])
    text = message(UserError, tmp_path, "test")
    assert f"data_batch_2.bin has {length:,} bytes: expected {3073 * RECORDS:,}" in text


def test_foreign_label_is_named(tmp_path: Path) -> None:
    content = bytearray(records(5))
    content[7 * 3073] = 77
    write_folder(tmp_path / "cifar-10-batches-bin", data_batch_5=bytes(content))
    assert "record 7 of" in (text := message(UserError, tmp_path))
    assert "data_batch_5.bin has label 77: expected 0 to 9" in text


def test_unbalanced_classes_are_named(tmp_path: Path) -> None:
    content = bytearray(records(6))
    position = next(index for index in range(0, len(content), 3073) if content[index] == 3)
    content[position] = 4
    write_folder(tmp_path / "cifar-10-batches-bin", test_batch=bytes(content))
    assert "holds 1 images of class 3 (cat) in test_batch.bin: expected 2" in message(UserError, tmp_path, "test")
    assert len(load_dataset("cifar10", "train", tmp_path)) == 5 * RECORDS


def test_constant_content_is_named(tmp_path: Path) -> None:
    values = np.zeros((RECORDS, 3073), np.uint8)
    values[:, 0] = np.arange(RECORDS) % 10
    write_folder(tmp_path / "cifar-10-batches-bin", test_batch=values.tobytes())
    assert "test_batch.bin is 0: expected photographs" in message(UserError, tmp_path, "test")


@pytest.mark.parametrize("names", [b"", b"apple\nbear\n", b"\xff\xfe"])
def test_foreign_class_names_are_named(tmp_path: Path, names: bytes) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin", batches=names)
    assert "expected airplane automobile" in message(UserError, tmp_path)


def test_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file: expected a folder" in message(UserError, tmp_path / "file")
    message(UserError, tmp_path / "file" / "below")
    (tmp_path / "cifar-10-batches-bin").write_text("")
    assert "is no folder" in message(UserError, tmp_path)


def test_empty_folder_and_dangling_link_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a" / "cifar-10-batches-bin").mkdir(parents=True)
    assert "data_batch_1.bin is missing" in message(UserError, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cifar-10-batches-bin").symlink_to(tmp_path / "nowhere")
    message(UserError, tmp_path / "b")


@as_root
def test_unwritable_and_unreadable_folders(tmp_path: Path) -> None:
    (tmp_path / "unwritable").mkdir(mode=0o500)
    assert "Permission denied" in message(UserError, tmp_path / "unwritable")
    write_folder(tmp_path / "unreadable" / "cifar-10-batches-bin")
    (tmp_path / "unreadable" / "cifar-10-batches-bin" / "test_batch.bin").chmod(0)
    assert "Permission denied" in message(UserError, tmp_path / "unreadable", "test")


@pytest.mark.parametrize(("code", "kind"), [(errno.EACCES, UserError), (errno.EROFS, UserError), (errno.EIO, RunError)])
def test_disk_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code), str(tmp_path / "new"))

    monkeypatch.setattr(Path, "mkdir", fail)
    assert os.strerror(code) in message(kind, tmp_path / "new")


# Over the network


def downloaded(root: Path) -> bool:
    """Whether the folder is there, whole, with nothing beside it."""
    if [path.name for path in root.iterdir()] != ["cifar-10-batches-bin"]:
        return False
    return {path.name: path.read_bytes() for path in (root / "cifar-10-batches-bin").iterdir()} == files()


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
    assert f"/tampered (delivered a file of MD5 {found}, expected {cifar10.ARCHIVE_MD5})" in text
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", found)
    assert f"delivered a file of SHA256 {hashlib.sha256(tampered).hexdigest()}" in message(DataUnavailable, tmp_path)


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
    monkeypatch.setattr(cifar10, "SILENCE_SECONDS", 0.1)
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
        (b"not an archive at all", "cannot be unpacked"),
        (archive()[:-2000], "cannot be unpacked"),
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


def test_import_of_the_package_is_light() -> None:
    code = (
        "import sys, thimble.data; print([m for m in ('pooch', 'requests', 'PIL', 'torchvision') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
