"""Trainings that are killed, in one process that forks them: run by test_killed_runs.py, as torch is slow to start.

    python tests/killed_runs.py FOLDER ROUNDS

A round is a run that is killed once or twice: at a random moment, or within a save, at a random one of its operations
on files, half of what is being written done. It is then resumed to its end and compared with a run that nobody
killed. Every tenth round also kills the writing of the run's report. Prints a line for each round.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_network
import torch

import thimble.reporting.report
import thimble.training.train
from thimble.data.augment.augmenter import build_augmenter
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import Shapes10, shapes10
from thimble.data.source import Part
from thimble.data.sources import SOURCES
from thimble.storage.curves import Curves
from thimble.storage.logs import read_metrics
from thimble.storage.state import load_state
from thimble.storage.weights import load_weights
from thimble.training.config import TrainConfig
from thimble.training.config_file import read_config
from thimble.training.fabric import start_fabric
from thimble.training.train import train

EPOCHS, STEPS = 3, 2
OPERATIONS = 4 * (3 + 3 * EPOCHS + 3)
"""To open, write, flush and rename settings, data and environment, a state and two logs an epoch, and the end."""


class TwoSteps(Shapes10):
    """Drawings enough for two steps an epoch."""

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        return shapes10(52, seed=1) if part == "train" else shapes10(20, seed=2)


KILLED = {-signal.SIGKILL, -signal.SIGPROF}


def forked(work: Callable[[], Any], kill_after_seconds: float = 0) -> int:
    """Do something in a child process; returns its exit code, negative if it was killed.

    Args:
        work: what to do.
        kill_after_seconds: of the child's own processor time, so that a busy machine does not shift the moment; 0 is
            never. The kernel ends it then by SIGPROF, of which Python, as of SIGKILL, learns nothing.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, kill_after_seconds)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Countdown:
    """Kills this process at the so many-th operation on a file that is written; of a write, half is done."""

    def __init__(self, operations: int) -> None:
        self.left = operations

    def step(self) -> bool:
        self.left -= 1
        return self.left < 0

    def install(self) -> None:
        opened, replaced, synced = Path.open, Path.replace, os.fsync

        def open_counted(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            file = opened(path, mode, *arguments, **options)
            if "w" not in mode:
                return file
            self.count()
            return Written(file, self)

        def replace_counted(path: Path, target: Path) -> Path:
            self.count()
            return replaced(path, target)

        def sync_counted(descriptor: int) -> None:
            self.count()
            synced(descriptor)

        Path.open = open_counted  # type: ignore[method-assign, assignment]
        Path.replace = replace_counted  # type: ignore[method-assign, assignment]
        os.fsync = sync_counted  # type: ignore[assignment]

    def count(self) -> None:
        if self.step():
            os.kill(os.getpid(), signal.SIGKILL)


class Written:
    """A file that is written, whose process may not live to the end of it."""

    def __init__(self, file: Any, countdown: Countdown) -> None:
        self.file, self.countdown = file, countdown

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, content: bytes) -> int:
        if self.countdown.step():
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return int(self.file.write(content))


def go_on(config: TrainConfig, countdown: Countdown | None = None) -> None:
    """What a person does: begin the run, or resume it if it is there and has not ended."""
    if countdown:
        countdown.install()
    run = config.run.runs / str(config.run.name)
    if not (run / "model.safetensors").is_file():
        train(**({"resume": run} if run.exists() else {"config": config}))


def check_whole(run: Path) -> str:
    """Whatever is in a killed run's folder is whole; returns how far it came."""
    if not run.exists():
        return "nothing"
    assert read_config(run).run.name == run.name
    json.loads((run / "environment.json").read_text())
    if (run / "model.safetensors").exists():
        load_weights(run / "model.safetensors")
    if not (run / "last.ckpt" / "state.safetensors").exists():
        return "no state"
    step = int(load_state(run)[1]["step"])
    if (run / "metrics.csv").exists():
        assert len(read_metrics(run)) <= step // STEPS
    return f"step {step}"


def check_same(run: Path, reference: Path) -> None:
    """The weights, and all of the state but times and places, to the last bit; and nothing is left over."""
    for one, other in ((load_state(run)[0], load_state(reference)[0]), (weights(run), weights(reference))):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    timed = {"seconds", "images_per_second"}
    rows = [[{key: row[key] for key in row.keys() - timed} for row in read_metrics(each)] for each in (run, reference)]
    assert rows[0] == rows[1]
    assert sorted(path.name for path in run.iterdir() if path.name != "report") == [
        "config.json", "data.json", "environment.json", "last.ckpt", "metrics.csv", "model.safetensors",
        "tensorboard", "training_logs.md",
    ]  # fmt: skip
    assert not [path for path in run.parent.rglob("*") if path.name.endswith(".tmp")]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_weights(run / "model.safetensors")[0].state_dict()


def kill_report(run: Path, random_: random.Random) -> str:
    """Kill the writing of a report over an older one, and write it again."""
    before = (run / "model.safetensors").read_bytes()
    (run / "report.html").write_text("the older one")
    operations = random_.randrange(8, 60)

    def write() -> None:
        Countdown(operations).install()
        thimble.reporting.report.write_report(run)

    code = forked(write)
    assert code in {0} | KILLED, code
    page = (run / "report.html").read_text()
    assert page == "the older one" if code else page.rstrip().endswith("</html>")
    assert forked(lambda: thimble.reporting.report.write_report(run)) == 0
    assert (run / "report.html").read_text().rstrip().endswith("</html>")
    assert (run / "model.safetensors").read_bytes() == before
    assert not list(run.rglob("*.tmp"))
    return f"; its report killed at operation {operations}, written again"


def main(folder: Path, rounds: int) -> None:
    torch.set_num_threads(1)
    SOURCES["shapes10"] = f"{__name__}:TwoSteps"
    config = TrainConfig.of(
        model="tiny", data="shapes10", validation=20, epochs=EPOCHS, batch_size=16, dropout=0.1, device="cpu",
        workers=0, optimizer="muon", skip_easy=0.0, runs=folder, name="reference",
    )  # fmt: skip
    # What every child would otherwise import again.
    start_fabric("cpu", "float32")
    build_augmenter(config.augment, TwoSteps().load("train").mean)
    Curves(folder, 1).close()
    assert forked(lambda: go_on(config)) == 0
    seconds = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    for number in range(rounds):
        random_ = random.Random(number)
        mine = config.changed(name=f"round-{number}")
        run = folder / f"round-{number}"
        story = []
        for _ in range(random_.choice((1, 1, 2))):
            if random_.random() < 0.4:
                after = random_.uniform(0.01, 0.6 * seconds)
                code = forked(lambda mine=mine: go_on(mine), after)  # type: ignore[misc]
                how = f"after {after:.2f} of {seconds:.2f} s"
            else:
                operations = random_.randrange(OPERATIONS)
                code = forked(lambda mine=mine, at=operations: go_on(mine, Countdown(at)))  # type: ignore[misc]
                how = f"at operation {operations}"
            assert code in {0} | KILLED, code
            story.append(f"{'killed' if code else 'not killed'} {how}, at {check_whole(run)}")
        assert forked(lambda mine=mine: go_on(mine)) == 0  # type: ignore[misc]
        check_same(run, folder / "reference")
        report = kill_report(run, random_) if number % 10 == 9 else ""
        print(f"round {number}: {'; '.join(story)}{report}: the same to the last bit", flush=True)


if __name__ == "__main__":
    with tiny_network.registered():
        main(Path(sys.argv[1]), int(sys.argv[2]))
