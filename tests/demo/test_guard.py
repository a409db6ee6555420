"""The demo's door: who is answered, how much is taken, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from thimble.demo import guard as demo_guard
from thimble.demo.guard import Guard, demo_folder, make_room, sweep


def asked(guard: Guard, path: str = "/", kind: str = "http", **headers: str) -> Any:
    """The status of the answer; of a websocket the kind of the first message."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    named = {"host": "127.0.0.1:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": kind, "path": path, "headers": [(key.encode(), value.encode()) for key, value in named.items()]}
    asyncio.run(guard(scope, receive, send))
    return sent[0].get("status", sent[0]["type"])


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start" if scope["type"] == "http" else "websocket.accept", "status": 200})


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    return Guard(application, "127.0.0.1", tmp_path, 1000)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "127.0.0.1", "localhost:80", "LOCALHOST", "localhost.", "[::1]:1"])
def test_its_own_names_are_answered(guard: Guard, host: str) -> None:
    assert asked(guard, host=host) == 200
    assert asked(guard, host=host, origin=f"http://{host}") == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[",
        "10.0.0.1",
        "a@b",
        "a@localhost",
        "localhost:80.evil.example",
    ],
)
def test_no_other_name_is(guard: Guard, host: str) -> None:
    assert asked(guard, host=host) == 421
    assert asked(guard, kind="websocket", host=host) == "websocket.close"


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "http://localhost:7860", "http://127.0.0.1:1", "file://127.0.0.1:7860", "["],
)
def test_no_page_but_its_own_is(guard: Guard, origin: str) -> None:
    assert asked(guard, origin=origin) == 403
    assert asked(guard, kind="websocket", origin=origin) == "websocket.close"


def test_other_pages_may_lead_to_it_and_not_embed_it(guard: Guard) -> None:
    follow = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert asked(guard, **follow, sec_fetch_dest="document") == 200
    assert asked(guard, **follow, sec_fetch_dest="iframe") == 403
    assert asked(guard, sec_fetch_site="same-site", sec_fetch_mode="no-cors", sec_fetch_dest="image") == 403
    assert asked(guard, sec_fetch_site="same-origin", sec_fetch_mode="cors", sec_fetch_dest="empty") == 200


def test_at_every_address_numbers_and_the_machines_name_are_answered(tmp_path: Path) -> None:
    guard = Guard(application, "0.0.0.0", tmp_path, 1000)
    for host in ("192.168.1.5:7860", "[fe80::1]:7860", f"{socket.gethostname()}:7860", "localhost"):
        assert asked(guard, host=host) == 200
    assert asked(guard, host="evil.example") == 421
    assert asked(Guard(application, "lab.example", tmp_path, 1000), host="lab.example:7860") == 200


def test_what_is_sent_is_bounded(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(guard, "/gradio_api/upload", content_length="1000") == 200
    assert asked(guard, "/gradio_api/upload", content_length="1001") == 413
    assert asked(guard, "/gradio_api/queue/join", content_length="1000001") == 413
    assert asked(guard, content_length="-1") == 413
    assert asked(guard, content_length="many") == 413
    assert asked(guard, "/gradio_api/upload", transfer_encoding="chunked") == 411
    monkeypatch.setattr(demo_guard, "MOST_UPLOADED_BYTES", 1500)
    guard.arriving = 600
    assert asked(guard, "/gradio_api/upload/", content_length="1000") == 503
    assert guard.arriving == 600
    guard.num_requests = demo_guard.MOST_REQUESTS
    assert asked(guard) == 503


def test_the_oldest_uploads_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_guard, "MOST_UPLOADED_BYTES", 100)
    (tmp_path / "sample.png").write_bytes(bytes(90))
    for age in range(3):
        path = tmp_path / "uploads" / str(age) / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(30))
        os.utime(path, (1000 - age, 1000 - age))
    assert make_room(tmp_path, 10)
    assert len(list(tmp_path.rglob("a.png"))) == 3
    assert make_room(tmp_path, 50)
    assert [path.parent.name for path in tmp_path.rglob("a.png")] == ["0"]
    assert not make_room(tmp_path, 101)
    assert (tmp_path / "sample.png").exists()


def test_what_a_killed_demo_left_goes_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    left, running, other = (
        tmp_path / name
        for name in (f"thimble-demo-{ended.pid}-x", f"thimble-demo-{os.getpid()}-x", "thimble-demo-mine")
    )
    for folder in (left, running, other):
        (folder / "uploads").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with demo_folder() as folder:
        assert folder.parent == tmp_path
        assert Path(tempfile.gettempdir()).is_relative_to(folder)
        assert (left.exists(), running.exists(), other.exists()) == (False, True, True)
    assert not folder.exists()
    assert tempfile.gettempdir() == str(tmp_path)
    sweep(tmp_path / "nothing")
