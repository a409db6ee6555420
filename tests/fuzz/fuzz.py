"""Fuzz every reader of files from outside, each file in a child that is watched: ``make fuzz``.

A finding is a traceback, more than ten seconds, more than 1 GiB above what the child had, the child's death, or a write
outside its folder. Its file is kept in tests/corpus, and ``make test`` reads it from then on. Every file follows from
the seed, which is printed, its kind and its number alone.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent.parent / "corpus"
SECONDS = 10.0
"""Of the processor; on a machine that does other things too, the clock on the wall may show three times as much."""
MEBIBYTE = 2**20
MOST_MEMORY = 1024 * MEBIBYTE
CHANGES = {f"os.{name}" for name in ("mkdir", "remove", "rmdir", "rename", "link", "symlink", "chmod", "truncate")}


def content_of(seed: int, kind: str, number: int) -> bytes:
    from fuzz_forging import forged, mutated
    from fuzz_inputs import good

    rng = random.Random(f"{seed}/{kind}/{number}")
    return forged(kind, rng) if number % 2 else mutated(rng.choice(good(kind)), rng)


def child(sandbox: Path) -> None:
    """Read a file for each line of (seed, kind, number) on stdin, and say on stdout how it went."""
    from fuzz_inputs import good
    from fuzz_readers import READERS, outcome, warm_up

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else speaks on stdout
    warm_up(sandbox)
    for kind in READERS:
        good(kind)
    trim = ctypes.CDLL(None).malloc_trim
    stray: list[str] = []
    sys.addaudithook(lambda event, arguments: _note_writes(event, arguments, sandbox, stray))
    size = _memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MOST_MEMORY, size + 2 * MOST_MEMORY))
    os.chdir(sandbox)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        seed, kind, number = json.loads(line)
        content = content_of(seed, kind, number)
        place = sandbox / "place"
        place.mkdir()
        trim(0)  # else memory that earlier files have freed would hide what this one takes
        Path("/proc/self/clear_refs").write_text("5")
        stray.clear()
        before, started = _memory("VmRSS"), time.process_time()
        try:
            result = outcome(kind, content, place)
        except BaseException as error:
            result = f"{type(error).__name__}: {error}\n{traceback.format_exc()[-3000:]}"
        answer = {
            "result": result,
            "seconds": time.process_time() - started,
            "memory": _memory("VmHWM") - before,
            "stray": list(stray),
        }
        shutil.rmtree(place)
        print(json.dumps(answer), file=answers, flush=True)


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


def _note_writes(event: str, arguments: tuple[Any, ...], sandbox: Path, stray: list[str]) -> None:
    """Note what is written, made, renamed or deleted outside the sandbox."""
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return
        paths = [path]
    elif event in (
        "os.mkdir",
        "os.remove",
        "os.rmdir",
        "os.rename",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.truncate",
    ):
        paths = list(arguments[:2])
    else:
        return
    for path in paths:
        if isinstance(path, str | bytes | os.PathLike):
            whole = os.path.abspath(os.fsdecode(path))
            if whole not in ("/dev/null", "/proc/self/clear_refs") and not whole.startswith(str(sandbox)):
                stray.append(f"{event} {whole}")


class Watched:
    """A child that reads files, started again after each that it did not survive."""

    def __init__(self) -> None:
        self.sandbox = Path(tempfile.mkdtemp(prefix="thimble-fuzz-"))
        self.process: subprocess.Popen[str] | None = None

    def ask(self, seed: int, kind: str, number: int) -> dict[str, Any]:
        process = self.process or self.start()
        assert process.stdin is not None
        process.stdin.write(json.dumps([seed, kind, number]) + "\n")
        process.stdin.flush()
        line = self._answer(process, 3 * SECONDS)
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)  # of itself
        self.close()
        result = f"no answer within {3 * SECONDS:g} s, or a death: exit code {process.returncode}"
        return {"result": result, "seconds": SECONDS, "memory": 0, "stray": []}

    def start(self) -> subprocess.Popen[str]:
        shutil.rmtree(self.sandbox, ignore_errors=True)
        for name in ("home", "tmp"):
            (self.sandbox / name).mkdir(parents=True)
        source = Path(__file__).parent
        environment = os.environ | {
            "HOME": str(self.sandbox / "home"),
            "TMPDIR": str(self.sandbox / "tmp"),
            "MPLCONFIGDIR": str(self.sandbox / "home"),
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(source / "fuzz.py"), "--child", str(self.sandbox)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        if self._answer(self.process, 300) != "ready\n":
            raise SystemExit("fuzz: the child did not start; see above")
        return self.process

    def _answer(self, process: subprocess.Popen[str], seconds: float) -> str:
        assert process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            return process.stdout.readline()
        finally:
            timer.cancel()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
        shutil.rmtree(self.sandbox, ignore_errors=True)


def finding_of(answer: dict[str, Any]) -> str:
    """What is wrong with how it went; empty if nothing."""
    if answer["result"] not in ("taken", "refused", "failed"):
        return str(answer["result"])
    if answer["seconds"] > SECONDS:
        return f"{answer['seconds']:.1f} s"
    if answer["memory"] > MOST_MEMORY:
        return f"{answer['memory'] / MEBIBYTE:,.0f} MiB"
    return f"written outside: {answer['stray']}" if answer["stray"] else ""


def keep(kind: str, content: bytes) -> Path:
    path = CORPUS / kind / f"{hashlib.sha256(content).hexdigest()[:12]}.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=300, help="for all kinds together")
    parser.add_argument("--count", action="append", default=[], metavar="KIND=N", help="so many of a kind instead")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return 0
    from fuzz_inputs import KINDS

    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    counts = {kind: int(number) for kind, _, number in (each.partition("=") for each in options.count)}
    print(f"fuzz: seed {seed}, again with --seed {seed}", flush=True)
    totals: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in KINDS}
    worst = {kind: [0.0, 0.0] for kind in KINDS}
    watched, findings, number = Watched(), 0, 0
    try:
        watched.start()
        started = time.monotonic()
        while any(number < counts[kind] for kind in counts) if counts else time.monotonic() - started < options.seconds:
            for kind in KINDS:
                if counts and number >= counts.get(kind, 0):
                    continue
                answer = watched.ask(seed, kind, number)
                found = finding_of(answer)
                totals[kind]["finding" if found else answer["result"]] += 1
                worst[kind] = [max(worst[kind][0], answer["seconds"]), max(worst[kind][1], answer["memory"] / MEBIBYTE)]
                if found:
                    findings += 1
                    kept = keep(kind, content_of(seed, kind, number))
                    print(f"FINDING {kind} {number}, kept as {kept}: {found}", flush=True)
            number += 1
    finally:
        watched.close()
    print(f"\n{time.monotonic() - started:.0f} s, {findings} findings\n")
    print("| kind | files | taken | refused (2) | failed (1) | findings | slowest, s | most memory, MiB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind, total in totals.items():
        if total.total():
            cells = [total.total(), *(total[name] for name in ("taken", "refused", "failed", "finding"))]
            counted = " | ".join(f"{cell:,}" for cell in cells)
            print(f"| {kind} | {counted} | {worst[kind][0]:.2f} | {worst[kind][1]:,.0f} |")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
