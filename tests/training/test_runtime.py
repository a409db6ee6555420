"""Seeds, signals, memory, devices and the record of the environment."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from thimble.errors import UserError
from thimble.system.machine import has_bfloat16, keep_freed_memory
from thimble.system.seeds import derive_seed
from thimble.training.fabric import environment, start_fabric
from thimble.training.signals import stop_on_signal
from thimble.version import __version__

# 100 MB at a time, as a training step allocates its activations, and the page faults of ten of them before and after.
COUNT_FAULTS = """
import resource, torch
from thimble.system.machine import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(25_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
before = faults()
assert keep_freed_memory() is True
faults()  # glibc first fills its small caches with what aligning cuts off, and only then fits a block into an old one
print(before, faults())
"""


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of the test runner, put back even where a test fails."""
    saved = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in saved.items():
        signal.signal(number, handler)


def test_seeds_are_stable() -> None:
    """Stored values: a change would change every run of every recipe."""
    assert derive_seed(0) == 2968811710
    assert derive_seed(1, 2, 3) == 3822189696


def test_seeds_differ_in_every_part() -> None:
    seeds = {derive_seed(*parts) for parts in ((0, 1), (1, 0), (1, 1), (0, 2), (0, 1, 1), (1, 0, 1), (7,))}
    assert len(seeds) == 7
    assert len({derive_seed(a, b, c) for a in range(10) for b in range(10) for c in range(10)}) == 1000
    assert all(0 <= derive_seed(seed, 5) < 2**32 for seed in range(100))


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_a_request(number: signal.Signals) -> None:
    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as request:
        seen = [(bool(request), request.signal)]
        os.kill(os.getpid(), number)
        seen.append((bool(request), request.signal))
    assert seen == [(False, None), (True, number)]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == previous


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_interrupts(second: signal.Signals) -> None:
    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with stop_on_signal() as request:
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(request.signal)
            os.kill(os.getpid(), second)
            seen.append(None)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [signal.SIGTERM]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == previous


@pytest.mark.usefixtures("handlers")
def test_a_terminal_that_hangs_up_twice_is_not_impatient() -> None:
    """A closed terminal sends SIGHUP, and so does its shell."""
    with stop_on_signal() as request:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert request.signal == signal.SIGHUP


@pytest.mark.usefixtures("handlers")
def test_the_handlers_come_back_after_an_exception() -> None:
    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    during = []

    def work() -> None:
        with stop_on_signal():
            during.extend([signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert during[0] not in previous
    assert during[1] not in previous
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == previous


@pytest.mark.usefixtures("handlers")
def test_outside_the_main_thread_nothing_is_caught() -> None:
    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    def work() -> None:
        with stop_on_signal() as request:
            seen.append((bool(request), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, previous[0])]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == previous


def test_without_glibc_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("thimble.system.machine.ctypes", None)  # whoever touches it fails
    assert keep_freed_memory() is False


if platform.libc_ver()[0] == "glibc":

    @pytest.mark.slow
    def test_freed_memory_is_kept() -> None:
        """In a process of its own, as the setting holds until it ends."""
        done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        before, after = (int(count) for count in done.stdout.split())
        assert before > 10 * 40  # at least one for each huge page
        assert after < before / 10


def test_no_gpu_is_the_users_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"^--device gpu: PyTorch found no GPU; use --device cpu$"):
        start_fabric("gpu", "float32")


@pytest.mark.parametrize(
    ("precision", "name", "dtype"), [("float32", "32-true", torch.float32), ("bf16", "bf16-mixed", torch.bfloat16)]
)
def test_fabric_on_the_cpu(monkeypatch: pytest.MonkeyPatch, precision: Any, name: str, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for variable in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(variable, raising=False)
    fabric = start_fabric("auto", precision)
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")
    assert fabric._precision.precision == name
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("/usr/bin/thimble", ["thimble", "train", "--epochs", "1"]),
        ("/lib/thimble/__main__.py", ["thimble", "train", "--epochs", "1"]),
        ("/lib/pytest/__main__.py", None),
        ("/home/me/notebook.py", None),
        ("", None),
    ],
)
def test_environment(monkeypatch: pytest.MonkeyPatch, program: str, command: list[str] | None) -> None:
    monkeypatch.setattr(sys, "argv", [program, "train", "--epochs", "1"])
    fabric: Any = SimpleNamespace(device=torch.device("cpu"), world_size=3)
    record = environment(fabric)
    assert json.loads(json.dumps(record)) == record
    assert record["command"] == command
    assert record["versions"]["thimble"] == __version__
    assert record["versions"]["python"] == platform.python_version()
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(record["versions"]) > {"numpy", "albumentations", "lightning-fabric", "safetensors"}
    assert record["processor"]
    assert record["platform"]
    assert record["cpu_count"] >= 1
    assert record["torch_threads"] == torch.get_num_threads()
    assert record["device"] == "cpu"
    assert record["num_processes"] == 3


def test_the_processor_has_a_name_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def read_all_but_proc(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if path == Path("/proc/cpuinfo"):
            raise FileNotFoundError(path)
        return read(path, encoding, errors)

    monkeypatch.setattr(Path, "read_text", read_all_but_proc)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    fabric: Any = SimpleNamespace(device=torch.device("cpu"), world_size=1)
    assert environment(fabric)["processor"] == "pdp11"


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stop_on_signal_goes_on_ignoring_what_the_process_was_told_to_ignore(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)  # as nohup does
    with stop_on_signal() as request:
        os.kill(os.getpid(), number)
    assert not request


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, False),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_bfloat16_is_where_the_processor_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_bfloat16("cpu") is expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert has_bfloat16("auto") is expected


def test_a_gpu_says_itself_whether_it_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert has_bfloat16("auto")
    assert not has_bfloat16("cpu")


def test_without_a_list_of_capabilities_there_is_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in older versions of PyTorch
    assert not has_bfloat16("cpu")
