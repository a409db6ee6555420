"""Decide which requests the demo's server accepts, and limit uploads: an ASGI layer around the page.

A malicious web page in the user's browser can send requests to this machine, by address or by a name of its own that
resolves to it (DNS rebinding). So the demo accepts only requests to its own names that come from its own page.
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

from thimble.system.temporary import is_running

MOST_REQUESTS = 100
"""The most requests at the same time; an open page uses one or two."""

MOST_UPLOADED_BYTES = 500_000_000
"""The most bytes in the demo's folder; the oldest files are deleted to make room."""

MOST_FORM_BYTES = 1_000_000
"""The most bytes in a request that uploads no file."""

_PREFIX = "thimble-demo-"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application that passes on the requests that ``refusal`` accepts."""

    def __init__(self, application: Application, host: str, folder: Path, most_upload_bytes: int) -> None:
        """Guard an application.

        Args:
            application: the application to guard.
            host: the address that it is served at. Requests may use this name or localhost; if the address means all
                interfaces, such as 0.0.0.0, also any IP address and the machine's own name.
            folder: the folder for uploads.
            most_upload_bytes: the most bytes in one upload request.
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
        """Pass a request on, or refuse it in one line; a refused websocket is closed, which the client sees as 403."""
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
        """Return the status and the reason to refuse a request with; None if it is accepted."""
        headers = _headers(scope)
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "wrong host name for this demo: use the address that thimble demo printed"
        if any(not _is_same(origin, hosts[0]) for origin in origins) or _is_embedded(headers):
            return 403, "this demo accepts requests from its own page only"
        if self.num_requests >= MOST_REQUESTS:
            return 503, f"the demo is busy with {MOST_REQUESTS} requests: try again later"
        if "transfer-encoding" in headers:
            return 411, "no Content-Length: expected one"
        uploading = scope["path"].rstrip("/").endswith("/upload")
        most = self.most_upload_bytes if uploading else MOST_FORM_BYTES
        length = _length(headers)
        if not 0 <= length <= most:
            return 413, f"the request is too large: expected at most {most:,} bytes"
        if uploading and not make_room(self.folder, length + self.arriving):
            return 503, "too many uploads at once: try again later"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").rstrip(".")
            _ = parts.port  # raises if it is not a number, as in localhost:80.evil.example
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
        return True  # DNS rebinding needs a name; an IP address is safe


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
    """Tell by the browser's headers whether another page sent the request; following a link from one is allowed."""
    site, mode, goal = (headers.get(f"sec-fetch-{name}", [""])[0] for name in ("site", "mode", "dest"))
    return site in ("cross-site", "same-site") and (mode, goal) != ("navigate", "document")


def _length(headers: dict[str, list[str]]) -> int:
    """Return a request's Content-Length in bytes; 0 if it has none, -1 if it is not a number."""
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
    """Delete a folder's oldest files, at any depth, until ``num_bytes`` more fit; return whether they do."""
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if not path.is_dir() and path.parent != folder:  # the samples lie directly in it
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
    """Make a folder for uploads and delete it after the block; first delete the folders of demos that were killed.

    Inside the block, this process makes all its temporary files there.
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
    """Delete the folders of demos whose processes have ended."""
    if os.name != "posix":  # elsewhere, os.getuid is missing and is_running cannot tell
        return
    for path in folder.glob(f"{_PREFIX}*-*"):
        process = path.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            ours = process.isdecimal() and not path.is_symlink() and path.stat().st_uid == os.getuid()
            if ours and not is_running(int(process)):
                shutil.rmtree(path, ignore_errors=True)
