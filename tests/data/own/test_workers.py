"""Processes do the work in order, survive what they decode, and are gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from own_folders import FolderFiles
from own_pictures import encoded, soft, write

from thimble.data.own import workers
from thimble.data.own.decoding import Decode, Outcome
from thimble.data.own.workers import CRASHED, num_processes, run
from thimble.data.pixels import Fitting

NAPS = {"nap": 2, "sleep": 600}
"""Names that take so many seconds."""


@dataclass(frozen=True)
class Echo:
    """Tells who worked; what is called "crash" kills its process."""

    def __call__(self, names: list[str]) -> list[Outcome]:
        for name in names:
            if name == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if name in NAPS:
                time.sleep(NAPS[name])
        return [Outcome(f"{name} {os.getpid()}") for name in names]


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its first task, this process lets two others work."""
    monkeypatch.setattr(workers, "ALONE_SECONDS", 0.0)
    monkeypatch.setattr(workers, "num_processes", lambda: 2)


def children() -> set[str]:
    """The processes that this one has started, zombies too."""
    found = subprocess.run(
        ["ps", "--no-headers", "-o", "pid", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return set(found.stdout.split()[:-1])  # the last is ps


def tasks(count: int) -> list[list[str]]:
    return [[f"{number} a", f"{number} b"] for number in range(count)]


def test_little_work_starts_no_process() -> None:
    assert [outcome.reason for found in run(Echo(), tasks(5)) for outcome in found] == [
        f"{name} {os.getpid()}" for task in tasks(5) for name in task
    ]
    assert list(run(Echo(), [])) == []


def test_as_many_processes_as_cpus() -> None:
    assert 1 <= num_processes() <= len(os.sched_getaffinity(0))


@pytest.mark.slow
@pytest.mark.usefixtures("two_processes")
def test_several_processes_keep_the_order() -> None:
    before = children()
    found = [outcome.reason.rsplit(" ", 1) for each in run(Echo(), tasks(40)) for outcome in each]
    assert [name for name, _ in found] == [name for task in tasks(40) for name in task]
    assert 2 <= len({process for _, process in found} - {str(os.getpid())}) <= 2
    assert children() == before


@pytest.mark.slow
@pytest.mark.usefixtures("two_processes")
def test_a_crash_costs_only_the_file_that_caused_it() -> None:
    given = [["first"], ["a", "b", "crash", "c"], ["d"], ["e", "crash"]]
    found = [[outcome.reason.split(" ")[0] for outcome in each] for each in run(Echo(), given)]
    crashed = CRASHED.split(" ")[0]
    assert found == [["first"], ["a", "b", crashed, "c"], ["d"], ["e", crashed]]


@pytest.mark.slow
@pytest.mark.usefixtures("two_processes")
def test_an_early_end_leaves_no_process() -> None:
    before, began = children(), time.monotonic()
    with closing(run(Echo(), [["a"], ["b"], ["sleep"], ["sleep"], ["sleep"]])) as found:
        assert next(found)
        assert next(found)
        assert len(children() - before) == 2
    assert children() == before
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("two_processes")
def test_without_python_this_process_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = [outcome.reason for each in run(Echo(), tasks(6)) for outcome in each]
    assert found == [f"{name} {os.getpid()}" for task in tasks(6) for name in task]


@pytest.mark.slow
@pytest.mark.usefixtures("two_processes")
def test_a_job_that_no_other_process_knows_is_done_here() -> None:
    """A class of a script or a notebook: its name means nothing elsewhere."""

    class Local(Echo):
        def __reduce__(self) -> tuple[object, ...]:
            return __import__, ("no_such_module",)

    found = [outcome.reason.rsplit(" ", 1)[1] for each in run(Local(), tasks(4)) for outcome in each]
    assert set(found) == {str(os.getpid())}


@pytest.mark.slow
@pytest.mark.usefixtures("two_processes")
def test_processes_decode_as_this_one(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(12)]
    write(tmp_path, {name: encoded(soft(40, 30, number), "PNG") for number, name in enumerate(names)})
    decode = Decode(FolderFiles(tmp_path), Fitting((16, 16)))
    given = [names[start : start + 3] for start in range(0, 12, 3)]
    for found, task in zip(run(decode, given), given, strict=True):
        for one, other in zip(found, decode(task), strict=True):
            assert (one.digest, one.facts) == (other.digest, other.facts)
            assert one.pixels is not None
            assert other.pixels is not None
            assert one.pixels.tobytes() == other.pixels.tobytes()


SCRIPT = """
import sys
from contextlib import closing
sys.path[:0] = {path!r}
from test_workers import Echo
from thimble.data.own import workers
workers.ALONE_SECONDS, workers.num_processes = 0.0, lambda: 2
with closing(workers.run(Echo(), [["a"], ["b"], [{nap!r}], [{nap!r}]])) as found:
    next(found)
    print(next(found)[0].reason.split()[1], flush=True)
    next(found)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_this_one(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C goes to all of them, a kill to this one only; and a script without a main function is no obstacle."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(path=sys.path, nap="sleep" if number == signal.SIGINT else "nap"))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    os.kill(worker, 0)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.kill()
    _, errors = process.communicate(timeout=60)
    assert errors.count("Traceback") <= 1
    assert process.returncode == -number or number == signal.SIGINT
    for _ in range(600):  # it ends when it wants to send what it has done
        if not _works(worker):
            return
        time.sleep(0.1)
    raise AssertionError(f"{worker} is still there")


def _works(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
