"""A stream to a terminal or a pipe that nobody may be reading any more."""

from __future__ import annotations

import contextlib
import errno
import io
import select
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NO_READER = {errno.EPIPE, errno.ECONNRESET}


class _Enduring(io.FileIO):
    """Writes while it can; what cannot be written any more is dropped.

    Attributes:
        failure: why nothing could be written; None while all could, or if the reader had enough or the terminal is
            gone.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.failure: OSError | None = None
        self._dropping = False
        self._terminal = self.isatty()  # asked once it is gone, it says no

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and not self._dropping:
                written = super().write(rest)
                if written is None:  # a pipe that somebody made non-blocking, and that is full
                    select.select([], [self], [])
                rest = rest[written or 0 :]
        except OSError as error:
            self._dropping = True
            if error.errno not in _NO_READER and not (error.errno == errno.EIO and self._terminal):
                self.failure = error
        return size


def enduring(stream: TextIO) -> TextIO:
    """The same stream, made so that no write to it fails: see ``failure_of``."""
    with contextlib.suppress(OSError):
        stream.flush()
    raw = _Enduring(stream.fileno())
    unbuffered = getattr(stream, "write_through", False)  # python -u
    return io.TextIOWrapper(
        cast(BinaryIO, raw) if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=unbuffered,
    )


def failure_of(stream: TextIO | None) -> OSError | None:
    """Why part of what was written to an enduring stream is lost, as on a full disk; None if nothing is.

    That a pipe's reader, such as `head`, had enough, or that the terminal is gone, is no failure.
    """
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if stream is None or not isinstance(raw, _Enduring):
        return None
    stream.flush()
    return raw.failure
