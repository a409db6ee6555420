"""Download a file of known size over HTTP from an untrusted server, which may stall, be too slow or never end."""

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
"""A source that is slower than this over a window is given up."""

_BLOCK_BYTES = 1 << 16
_LOOK_SECONDS = 0.25
_STOP_SECONDS = 1.0


class DownloadError(Exception):
    """A source did not deliver the file; the message says why in a few words."""


def download(url: str, path: Path, num_bytes: int, *, progress: bool = False) -> None:
    """Download a file in its own thread, while this thread watches the speed, so that no server can block it.

    Args:
        url: http or https; redirections are followed to http and https only.
        path: the file to write. After a failure, the part that was received stays there.
        num_bytes: the file's size; more bytes are refused.
        progress: show a progress bar on stderr.

    Raises:
        DownloadError: the source cannot be reached, is too slow, or delivers another number of bytes.
        OSError: the file cannot be written.
    """
    transfer = _Transfer(url, path, num_bytes)
    thread = threading.Thread(target=transfer.run, name="thimble-download", daemon=True)
    thread.start()
    try:
        with _Bar(progress, num_bytes) as bar:
            _watch(thread, transfer, bar)
    finally:
        transfer.stop = True
        thread.join(_STOP_SECONDS)  # so that it does not write while the caller deletes the folder
    if transfer.failure is not None:
        raise transfer.failure


def _watch(thread: threading.Thread, transfer: _Transfer, bar: _Bar) -> None:
    """Wait until a transfer ends; raise DownloadError if it is too slow."""
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
    """A transfer in progress.

    Attributes:
        received: bytes so far.
        stop: another thread sets it to end the transfer; nothing is written from then on.
        failure: the error that ended it; None if the file is complete.
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
            self.failure = DownloadError(_reason(error))  # ValueError: a redirection to an invalid address
        except Exception as error:  # ``download`` raises it again, in the caller's thread
            self.failure = error

    def _fetch(self) -> None:
        import requests

        with requests.get(
            self.url,
            stream=True,
            timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
            # Without this, some servers declare the .gz to be an encoding. If one still does, we do not decode it.
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
    """A progress bar on stderr. It appears with the first byte, so that a silent source shows none."""

    def __init__(self, wanted: bool, num_bytes: int) -> None:
        self._wanted, self._num_bytes = wanted, num_bytes
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, received: int) -> None:
        """Show the number of bytes received."""
        if not self._wanted or received == 0:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=self._num_bytes, unit="B", unit_scale=True, ncols=79)
        self._bar.update(received - self._bar.n)


def _reason(error: Exception) -> str:
    """A network error in a few words: the messages of requests are long and contain addresses of objects."""
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
