"""Do the scan's work in processes, one for each CPU that this process may use.

Threads would not do: small images spend most of their time in Python, which runs one thread at a time (JPEG of 100x100
pixels: 3,000 a second with one thread and with two, 5,800 with two processes). The processes are started anew, not
forked, because a fork of a process with PyTorch's threads can hang; and not by ``multiprocessing``, which would run the
caller's script again in each of them. They start in 0.1 s, and end when this process does, however it ends.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TypeAlias

from .decoding import Outcome

Names: TypeAlias = list[str]
Job: TypeAlias = Callable[[Names], list[Outcome]]
"""Gives the outcomes for names, in their order. It is pickled for the processes."""

ALONE_SECONDS = 0.25
"""So long this process works alone, and longer if less than this is left: few images need no other process."""

CRASHED = "crashed its decoder"
_BYTES_PER_PROCESS = 2**30
_ENVIRONMENT = {
    # There is a process for each CPU already.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # glibc keeps freed memory for the next image. Otherwise the kernel maps and zeroes it again for each photo of 12
    # megapixels, which costs a seventh of the time.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}
_CODE = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from thimble.data.own.workers import serve
serve(int(sys.argv[2]))
"""


def run(job: Job, tasks: Sequence[Names]) -> Generator[list[Outcome], None, None]:
    """Do a job for each task, and give the outcomes in the tasks' order.

    Each process gets its tasks in their order. A file that crashes its process is unreadable. Close the generator to
    stop early: see ``contextlib.closing``.
    """
    began, several = time.monotonic(), num_processes() > 1
    for done, task in enumerate(tasks):
        elapsed = time.monotonic() - began
        if several and done and elapsed > ALONE_SECONDS and elapsed / done * (len(tasks) - done) > ALONE_SECONDS:
            yield from _in_processes(job, tasks[done:])
            return
        yield job(task)


def num_processes() -> int:
    """One for each CPU that this process may use, and each GiB of memory; only one where there is no POSIX."""
    if os.name != "posix":
        return 1
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(cpus, memory // _BYTES_PER_PROCESS))


def serve(descriptor: int) -> None:
    """Work in a process of its own: receive a job, then tasks; send back their outcomes, until the other side ends."""
    with Connection(descriptor) as connection:
        try:
            job = connection.recv()
            connection.send(True)
            while True:
                connection.send(job(connection.recv()))
        except (EOFError, OSError):
            return


def _in_processes(job: Job, tasks: Sequence[Names]) -> Generator[list[Outcome], None, None]:
    count = min(num_processes(), len(tasks))
    workers, pending = _Workers(job), deque[Future[list[Outcome]]]()
    threads = ThreadPoolExecutor(count, "thimble-scan")
    try:
        for task in tasks:
            pending.append(threads.submit(workers.work, task))
            if len(pending) > 2 * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        workers.stop()
        threads.shutdown(cancel_futures=True)


class _Died(Exception):
    """A process ended while it worked."""


class _Workers:
    """A process for each thread that asks for work, started when it first asks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._own = threading.local()
        self._lock, self._alone = threading.Lock(), threading.Lock()
        self._started: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def work(self, names: Names) -> list[Outcome]:
        """Do the job in the thread's process; in this process, if none can be started."""
        connection = self._connection()
        if connection is None:
            with self._alone:
                return [] if self._stopped else self._job(names)
        try:
            connection.send(names)
            outcomes: list[Outcome] = connection.recv()
        except (EOFError, OSError) as error:
            self._own.connection = None
            if self._stopped:
                raise _Died from error
            return [Outcome(CRASHED)] if len(names) == 1 else [self.work([name])[0] for name in names]
        return outcomes

    def stop(self) -> None:
        """End all processes; threads that wait for one go on with an error."""
        with self._lock:
            self._stopped = True
            for process in self._started:
                process.kill()
                process.wait()

    def _connection(self) -> Connection | None:
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None and not getattr(self._own, "cannot_start", False):
            connection = self._own.connection = self._start()
            self._own.cannot_start = connection is None
        return connection

    def _start(self) -> Connection | None:
        ours, theirs = multiprocessing.Pipe()
        number = theirs.fileno()
        environment = {**os.environ, **_ENVIRONMENT}
        command = [sys.executable, "-c", _CODE, json.dumps(sys.path), str(number)]
        nowhere = subprocess.DEVNULL
        try:
            with theirs, self._lock:
                if self._stopped:
                    raise _Died
                process = subprocess.Popen(
                    command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environment, pass_fds=(number,)
                )
                self._started.append(process)
            ours.send(self._job)
            ours.recv()
        except (EOFError, OSError) as error:
            if self._stopped:
                raise _Died from error
            return None
        return ours
