"""Output that nobody reads, and output that cannot be written."""

from __future__ import annotations

import errno
import os
import pty
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import pytest

from thimble.system.output import enduring, failure_of


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end to read from, and a stream to write to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8", errors="backslashreplace") as stream:
        yield reading, stream


def test_what_is_read_arrives_whole(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    stream.write("before ")
    output = enduring(stream)
    print("é \udcff", file=output)
    assert (output.encoding, output.errors) == ("utf-8", "backslashreplace")
    assert failure_of(output) is None
    assert os.read(reading, 100).decode() == "before é \\udcff\n"
    os.close(reading)


def test_unbuffered_output_comes_at_once_and_whole_through_a_full_pipe(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    os.set_blocking(stream.fileno(), False)
    stream.reconfigure(write_through=True)  # type: ignore[attr-defined]
    output = enduring(stream)
    output.write("at once")
    assert os.read(reading, 100) == b"at once"
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(output.write, "x" * 1_000_000)
        received = 0
        while received < 1_000_000:
            received += len(os.read(reading, 50_000))
        writing.result()
    os.close(reading)
    assert failure_of(output) is None


def test_a_closed_pipe_ends_nothing(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    output = enduring(stream)
    os.close(reading)
    for _ in range(3):
        print("x" * 100_000, file=output, flush=True)
    assert failure_of(output) is None


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        output = enduring(stream)
        assert output.isatty()
        os.close(master)
        print("hello", file=output, flush=True)
        print("hello", file=output, flush=True)
        assert failure_of(output) is None


def test_a_full_disk_ends_nothing_but_is_told() -> None:
    with open("/dev/full", "w") as stream:
        output = enduring(stream)
        print("hello", file=output)
        failure = failure_of(output)
        assert failure is not None
        assert failure.errno == errno.ENOSPC
        print("hello", file=output, flush=True)


def test_another_stream_has_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    assert failure_of(None) is None
    assert failure_of(sys.stdout) is None
