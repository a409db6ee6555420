"""Servers that mean harm, or fail: no end, no pace, another length, another place, no HTTP; and a disk that is full."""

from __future__ import annotations

import contextlib
import errno
import http.server
import time
from pathlib import Path
from typing import Any

import pytest
from cifar10_files import archive, message, small_and_offline
from download_server import Server, downloaded

from thimble.data import cifar10, download
from thimble.data.source import DataUnavailable
from thimble.data.sources import load_dataset
from thimble.errors import RunError

__all__ = ["small_and_offline"]


def pour(server: Server, path: str, block: bytes, pause: float, declared: int | None = None) -> str:
    """Serve ``block`` again and again, for as long as the other side takes it; give the address."""

    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if declared is not None:
            handler.send_header("Content-Length", str(declared))
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                handler.wfile.write(block)
                handler.wfile.flush()
                time.sleep(pause)

    server.routes[path] = respond
    return server.url(path)


def test_a_body_without_an_end_is_cut_at_the_known_size(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = (pour(server, "/endless", bytes(1 << 18), 0.0), server.serve("/good", archive()))
    monkeypatch.setattr(cifar10, "SOURCES", sources)
    written: list[int] = []
    unlink = Path.unlink

    def note(path: Path, missing_ok: bool = False) -> None:
        written.append(path.stat().st_size)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", note)
    load_dataset("cifar10", "test", tmp_path)
    assert server.requests == ["/endless", "/good"]
    assert max(written) <= cifar10.ARCHIVE_BYTES
    assert downloaded(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("in_headers", [False, True])
def test_a_drip_is_given_up_for_the_next_source(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, in_headers: bool
) -> None:
    """A byte now and then is no silence. Nor may it come in the headers, which no timeout of requests' bounds."""
    monkeypatch.setattr(download, "WINDOW_SECONDS", 0.2)
    drip = pour(server, "/drip", b"x", 0.02, declared=cifar10.ARCHIVE_BYTES)
    if in_headers:

        def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Drip: ")
            with contextlib.suppress(OSError):
                for _ in range(50):
                    handler.wfile.write(b"x")
                    time.sleep(0.02)

        server.routes["/drip"] = respond
    monkeypatch.setattr(cifar10, "SOURCES", (drip,))
    started = time.perf_counter()
    assert "expected 10,000 a second" in message(DataUnavailable, tmp_path)
    assert time.perf_counter() - started < 2.0
    monkeypatch.setattr(cifar10, "SOURCES", (drip, server.serve("/good", archive())))
    load_dataset("cifar10", "test", tmp_path)
    assert downloaded(tmp_path)


def test_another_length_is_refused_before_the_body(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/large", b"", declared=10**15),))
    assert "/large (delivered 1,000,000,000,000,000 bytes, expected" in message(DataUnavailable, tmp_path)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/around", "//", "http://[", "x:y"])
def test_a_redirection_leads_nowhere_else(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.routes["/around"] = respond
    monkeypatch.setattr(cifar10, "SOURCES", (server.url("/around"),))
    assert "/around (" in message(DataUnavailable, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x"])
def test_a_body_that_is_declared_to_be_encoded_is_taken_as_it_is(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Whoever unpacked it could be made to unpack anything."""

    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", encoding)
        handler.end_headers()
        handler.wfile.write(archive())

    server.routes["/encoded"] = respond
    monkeypatch.setattr(cifar10, "SOURCES", (server.url("/encoded"),))
    load_dataset("cifar10", "test", tmp_path)
    assert downloaded(tmp_path)


@pytest.mark.parametrize(
    "answer", [b"", b"\0" * 100, b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nxx", b"x" * 99_999]
)
def test_what_is_no_http_at_all(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(answer)

    server.routes["/x"] = respond
    monkeypatch.setattr(cifar10, "SOURCES", (server.url("/x"),))
    assert "/x (" in message(DataUnavailable, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cifar10, "SOURCES", (pour(server, "/slow", b"x" * 99, 0.01, declared=cifar10.ARCHIVE_BYTES),))
    monkeypatch.setattr(download, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("cifar10", "test", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_it_comes_is_one_line(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cifar10, "SOURCES", (server.serve("/a", archive()),))
    monkeypatch.setattr(vars(download)["_Transfer"], "_fetch", fail)
    assert "No space left on device; CIFAR-10 needs 360 MB" in message(RunError, tmp_path)
