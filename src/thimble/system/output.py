"""Write to a terminal or a pipe whose reader may be gone, without failing."""

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
    """A file that drops everything after its first failed write.

    Attributes:
        failure: the error of that write. None if no write failed, or if the pipe's reader left or the terminal closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.failure: OSError | None = None
        self._dropping = False
        self._terminal = self.isatty()  # asked now: a closed terminal says no

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and not self._dropping:
                written = super().write(rest)
                if written is None:  # the pipe is non-blocking, and full
                    select.select([], [self], [])
                rest = rest[written or 0 :]
        except OSError as error:
            self._dropping = True
            if error.errno not in _NO_READER and not (error.errno == errno.EIO and self._terminal):
                self.failure = error
        return size


def enduring(stream: TextIO) -> TextIO:
    """Wrap a stream so that no write to it fails; ``failure_of`` says later whether output was lost."""
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
    """The error by which an enduring stream lost output, such as a full disk; None if it lost nothing.

    It is not a failure when a pipe's reader, such as `head`, stops reading, or when the terminal closes.
    """
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if stream is None or not isinstance(raw, _Enduring):
        return None
    stream.flush()
    return raw.failure
