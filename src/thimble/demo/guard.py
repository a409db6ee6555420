"""Who is answered by the demo's server, and how much may be sent to it: a layer of ASGI around the page.

A web page that somebody visits can send requests to this machine, by an address that it knows or by a name of its own
that leads here (DNS rebinding). So only requests by the demo's own names are answered, and of pages only its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MOST_REQUESTS = 100
"""Answered at once; an open page takes one or two of them."""

MOST_UPLOADED_BYTES = 500_000_000
"""In the demo's folder, all in all; the oldest files make room for new ones."""

MOST_FORM_BYTES = 1_000_000
"""Of a request that uploads nothing."""

_PREFIX = "thimble-demo-"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application that lets another answer what ``refusal`` has nothing against."""

    def __init__(self, application: Application, host: str, folder: Path, most_upload_bytes: int) -> None:
        """Guard an application.

        Args:
            application: the one that answers.
            host: the address that it is served at. It is answered by this name and by localhost's; at an address that
                stands for all of the machine's, such as 0.0.0.0, by every IP address and by the machine's own name.
            folder: where it keeps uploads.
            most_upload_bytes: of one request.
        """
        self.application = application
        self.folder, self.most_upload_bytes = folder, most_upload_bytes
        given = host.lower().strip("[]")
        self.everywhere = given in ("", "0.0.0.0", "::")
        self.names = {"localhost", "127.0.0.1", "::1", given}
        if self.everywhere:
            self.names |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        self.num_requests = self.arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it in a line; one of a websocket is closed, which answers it with 403."""
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        refused = self.refusal(scope)
        if refused is not None:
            await _refuse(scope, send, *refused)
            return
        length = _length(_headers(scope))
        self.num_requests += 1
        self.arriving += length
        try:
            await self.application(scope, receive, send)
        finally:
            self.num_requests -= 1
            self.arriving -= length

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason with which a request is refused; None if it is to be answered."""
        headers = _headers(scope)
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "this demo is not served by that name: use the address that thimble demo printed"
        if any(not _is_same(origin, hosts[0]) for origin in origins) or _is_embedded(headers):
            return 403, "this demo answers its own page only"
        if self.num_requests >= MOST_REQUESTS:
            return 503, f"{MOST_REQUESTS} requests are being answered: try again later"
        if "transfer-encoding" in headers:
            return 411, "expected a Content-Length"
        uploading = scope["path"].rstrip("/").endswith("/upload")
        most = self.most_upload_bytes if uploading else MOST_FORM_BYTES
        length = _length(headers)
        if not 0 <= length <= most:
            return 413, f"expected at most {most:,} bytes"
        if uploading and not make_room(self.folder, length + self.arriving):
            return 503, "too much is being uploaded: try again later"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").rstrip(".")
            _ = parts.port  # raises where it is no number, as in localhost:80.evil.example
        except ValueError:
            return False
        if "@" in host:
            return False
        if name in self.names:
            return True
        if not self.everywhere:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # nobody can have a name lead here who has to use a number


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope.get("headers", ()):
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _is_same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_embedded(headers: dict[str, list[str]]) -> bool:
    """Whether another page asks, by what browsers say of it; following a link from one is something else."""
    site, mode, goal = (headers.get(f"sec-fetch-{name}", [""])[0] for name in ("site", "mode", "dest"))
    return site in ("cross-site", "same-site") and (mode, goal) != ("navigate", "document")


def _length(headers: dict[str, list[str]]) -> int:
    """The bytes that a request says it has; -1 if what it says is no number."""
    found = headers.get("content-length", ["0"])
    return int(found[0]) if len(found) == 1 and found[0].isascii() and found[0].isdecimal() else -1


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    body = f"thimble: {reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


def make_room(folder: Path, num_bytes: int) -> bool:
    """Remove the oldest files of a folder, at any depth, until so many bytes more fit; whether they do."""
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if not path.is_dir() and path.parent != folder:  # right in it are the samples
                files.append((status.st_mtime, status.st_size, path))
    used = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if used + num_bytes <= MOST_UPLOADED_BYTES:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            used -= size
    return used + num_bytes <= MOST_UPLOADED_BYTES


@contextlib.contextmanager
def demo_folder() -> Iterator[Path]:
    """A folder for everything that is uploaded, gone after the block; of killed demos, those before it go at its start.

    Inside the block, all temporary files of this process are made in it.
    """
    sweep(Path(tempfile.gettempdir()))
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "parts").mkdir()
        tempfile.tempdir = str(folder / "parts")
        try:
            yield folder
        finally:
            tempfile.tempdir = before


def sweep(folder: Path) -> None:
    """Remove what demos left in a folder whose processes are no more."""
    if os.name != "posix":  # elsewhere, asking for a process ends it
        return
    for path in folder.glob(f"{_PREFIX}*-*"):
        process = path.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            ours = process.isdecimal() and not path.is_symlink() and path.stat().st_uid == os.getuid()
            if ours and not _is_alive(int(process)):
                shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
