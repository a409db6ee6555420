"""A file of known size over HTTP, from a server that may do anything: lie, stall, drip, or never end."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""Longest wait for the next bytes of a transfer."""
WINDOW_SECONDS = 60.0
LEAST_BYTES_PER_SECOND = 10_000
"""Slower than this over a window, and a source is given up."""

_BLOCK_BYTES = 1 << 16
_LOOK_SECONDS = 0.25
_STOP_SECONDS = 1.0


class DownloadError(Exception):
    """A source delivered something other than what was asked for; in a few words."""


def download(url: str, path: Path, num_bytes: int, *, progress: bool = False) -> None:
    """Fetch a file, in a thread of its own, so that no server can hold this one up: it watches the speed.

    Args:
        url: http or https; redirections are followed to these alone.
        path: where to write it. What was written of it before a failure stays there.
        num_bytes: its size. Not a byte more is taken.
        progress: show a progress bar on stderr.

    Raises:
        DownloadError: the source cannot be reached, is too slow, or delivers another number of bytes.
        OSError: it cannot be written.
    """
    transfer = _Transfer(url, path, num_bytes)
    thread = threading.Thread(target=transfer.run, name="thimble-download", daemon=True)
    thread.start()
    try:
        with _Bar(progress, num_bytes) as bar:
            _watch(thread, transfer, bar)
    finally:
        transfer.stop = True
        thread.join(_STOP_SECONDS)  # else it could still write while its folder is deleted
    if transfer.failure is not None:
        raise transfer.failure


def _watch(thread: threading.Thread, transfer: _Transfer, bar: _Bar) -> None:
    """Wait for the end of a transfer, as long as it is fast enough."""
    began, before, alive = time.monotonic(), 0, True
    while alive:
        thread.join(min(_LOOK_SECONDS, WINDOW_SECONDS / 4))
        alive, received = thread.is_alive(), transfer.received
        bar.show(received)
        seconds = time.monotonic() - began
        if alive and seconds >= WINDOW_SECONDS:
            if received - before < LEAST_BYTES_PER_SECOND * WINDOW_SECONDS:
                found = f"{received - before:,} bytes in {seconds:.3g} s"
                raise DownloadError(f"delivered {found}, expected {LEAST_BYTES_PER_SECOND:,} a second")
            began, before = time.monotonic(), received


class _Transfer:
    """A transfer under way.

    Attributes:
        received: bytes so far.
        stop: set by another thread; nothing is written from then on.
        failure: what it ended with; None if all is there.
    """

    def __init__(self, url: str, path: Path, num_bytes: int) -> None:
        self.url, self.path, self.num_bytes = url, path, num_bytes
        self.received = 0
        self.stop = False
        self.failure: Exception | None = None

    def run(self) -> None:
        import requests
        import urllib3

        try:
            self._fetch()
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            self.failure = DownloadError(_reason(error))  # ValueError: a redirection to what is no address
        except Exception as error:  # raised again where it was asked for
            self.failure = error

    def _fetch(self) -> None:
        import requests

        with requests.get(
            self.url,
            stream=True,
            timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
            # Else a server may declare the .gz an encoding. One that does so nevertheless is not heeded.
            headers={"Accept-Encoding": "identity"},
        ) as response:
            response.raise_for_status()
            declared = response.headers.get("Content-Length", "")
            if declared.isdecimal() and int(declared[:20]) != self.num_bytes:
                raise DownloadError(f"delivered {int(declared[:20]):,} bytes, expected {self.num_bytes:,}")
            if not self.stop:
                self._receive(response)

    def _receive(self, response: requests.Response) -> None:
        with self.path.open("wb") as file:
            for block in response.raw.stream(_BLOCK_BYTES, decode_content=False):
                if self.stop:
                    return
                self.received += len(block)
                if self.received > self.num_bytes:
                    raise DownloadError(f"delivered more than the expected {self.num_bytes:,} bytes")
                file.write(block)
        if self.received != self.num_bytes:
            raise DownloadError(f"delivered {self.received:,} bytes, expected {self.num_bytes:,}")


class _Bar:
    """A progress bar on stderr, from the first byte on: a source that is silent leaves none."""

    def __init__(self, wanted: bool, num_bytes: int) -> None:
        self._wanted, self._num_bytes = wanted, num_bytes
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, received: int) -> None:
        """Draw so many bytes."""
        if not self._wanted or received == 0:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=self._num_bytes, unit="B", unit_scale=True, ncols=79)
        self._bar.update(received - self._bar.n)


def _reason(error: Exception) -> str:
    """A network error in a few words: those of requests run over lines, with addresses of objects in them."""
    import requests
    import urllib3

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {' '.join(str(error.response.reason).split())[:80]}".rstrip()
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:g} s"
    if isinstance(error, requests.Timeout | urllib3.exceptions.ReadTimeoutError):
        return f"silent for {SILENCE_SECONDS:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.ProtocolError):
        return "the transfer broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection" if "resolve" not in str(error) else "the host's name cannot be resolved"
    return " ".join(str(error).split())[:200]
