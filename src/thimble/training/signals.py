"""Signals that ask a training to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that ask a process to stop: Ctrl-C, a scheduler or `kill`, and a terminal that is closed."""


class StopRequest:
    """Whether Ctrl-C, SIGTERM or SIGHUP asked this process to stop; false until then."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP inside the block into a request that the block polls.

    A second Ctrl-C or SIGTERM interrupts at once with KeyboardInterrupt; not a second SIGHUP, as a closed terminal may
    send it both by itself and by its shell. Outside the main thread, where Python allows no signal handlers, nothing
    is caught and nothing is ever requested.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if not request:
            request.signal = signal.Signals(number)
        elif number in (signal.SIGINT, signal.SIGTERM):
            raise KeyboardInterrupt

    try:
        # What this process was told to ignore, as nohup and a shell's & tell it, it goes on ignoring.
        heeded = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        previous = {number: signal.signal(number, handle) for number in heeded}
    except ValueError:
        previous = {}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
