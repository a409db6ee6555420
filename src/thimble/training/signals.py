"""Catch the signals that ask a training to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to stop: from Ctrl-C, from a scheduler or `kill`, and from a closed terminal."""


class StopRequest:
    """Becomes true once Ctrl-C, SIGTERM or SIGHUP asked this process to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP inside the block into a request that the block polls.

    A second Ctrl-C or SIGTERM raises KeyboardInterrupt at once. A second SIGHUP does not: when a terminal closes, both
    the terminal and its shell may send one. Outside the main thread, Python allows no signal handlers, so nothing is
    caught there.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if not request:
            request.signal = signal.Signals(number)
        elif number in (signal.SIGINT, signal.SIGTERM):
            raise KeyboardInterrupt

    try:
        # Keep ignoring the signals that this process already ignores, for example under nohup or a shell's &.
        heeded = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        previous = {number: signal.signal(number, handle) for number in heeded}
    except ValueError:
        previous = {}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
