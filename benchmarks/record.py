"""One row of the record's table: train its seeds, in slices if need be, measure them, and write the result.

    python benchmarks/record.py teacher-20m --seeds 2 --minutes 9
    python benchmarks/record.py thimble-150k --seeds 3 --minutes 9 --bank-of teacher-20m-seed0 teacher-20m-seed1
    python benchmarks/record.py thimble-150k --seeds 3 --minutes 9 --teacher runs/record/teacher-20m-seed0

The row is an architecture: a teacher by the recipe ``teacher``, every other by the recipe ``record``. Options that are
not listed below go to ``thimble train``. All seeds train at once (``--at-once``), each in a process of its own, as
small networks leave a GPU idle. With ``--bank-of``, runs of teachers in the same folder, their answers are computed
first, once for all rows. After ``--minutes`` they are told to stop, and the exit code is 130: the same command
goes on. Once all are done, it measures what the test images say, plainly and averaged with their mirror images, and
the latency beside the reference network's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from latency import BASE
from latency import measure as latency
from pages import add_output, mean_percent, publish, run_script, spread, table
from seeds import combine, counted, details, headline, read_run, title

from thimble.data.sources import load_dataset
from thimble.measuring.evaluation import evaluate
from thimble.measuring.summary import summarize
from thimble.models import build_model, list_models
from thimble.storage.state import STATE_FOLDER
from thimble.storage.weights import WEIGHTS_FILE, load_weights

RESULTS = Path(__file__).parent / "results"
INTERRUPTED = 130


def command(row: str, seed: int, runs: Path, options: list[str]) -> list[str] | None:
    """What trains one seed, or goes on with it; None when it is done."""
    run = runs / f"{row}-seed{seed}"
    if (run / WEIGHTS_FILE).is_file():
        return None
    thimble = [sys.executable, "-m", "thimble", "train"]
    if (run / STATE_FOLDER).is_dir():
        return [*thimble, "--resume", str(run)]
    recipe = "teacher" if row.startswith("teacher-") else "record"
    named = ["--model", row, "--seed", str(seed), "--runs", str(runs), "--name", run.name, "--overwrite"]
    return [*thimble, "--recipe", recipe, *named, *options]


def bank_command(bank: Path, teachers: list[Path], views: int, mixed_views: int, data_dir: Path | None) -> list[str]:
    """What makes the bank of the teachers' answers, or goes on with it."""
    names = [str(teacher) for teacher in teachers]
    settings = ["--views", str(views), "--mixed-views", str(mixed_views), "--output", str(bank)]
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return [sys.executable, "-m", "thimble", "bank", *names, *settings, *where]


def train_all(commands: list[list[str]], logs: list[Path], at_once: int, deadline: float) -> list[int]:
    """Run the commands, so many at once, and interrupt all at the deadline; returns an exit code of each.

    Args:
        commands: what to run.
        logs: where each one's output goes, added to what is there.
        at_once: processes at the same time.
        deadline: by time.monotonic(); those that have not begun then end with ``INTERRUPTED``.
    """
    waiting = list(range(len(commands)))
    running: dict[int, subprocess.Popen[bytes]] = {}
    codes = [INTERRUPTED] * len(commands)
    stopped = False
    try:
        while running or (waiting and not stopped):
            while waiting and len(running) < at_once and not stopped:
                number = waiting.pop(0)
                with logs[number].open("ab") as log:
                    running[number] = subprocess.Popen(commands[number], stdout=log, stderr=subprocess.STDOUT)
            for number, process in list(running.items()):
                if process.poll() is not None:
                    codes[number] = running.pop(number).returncode
            if not stopped and time.monotonic() >= deadline:
                stopped = True
                for process in running.values():
                    process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
    except KeyboardInterrupt:  # a terminal has told the children too; they save what they have
        for process in running.values():
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
        raise
    return codes


def _last_line(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]


def outcome(codes: list[int], logs: list[Path]) -> int:
    """One exit code of several, with a line on stderr if it is not 0."""
    for code, log in zip(codes, logs, strict=True):
        if code not in (0, INTERRUPTED):
            print(f"record: {_last_line(log)}; see {log}", file=sys.stderr)
            return code
    if INTERRUPTED in codes:
        print("record: not done; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 0


def measure(row: str, runs: list[Path], data_dir: Path | None) -> dict[str, Any]:
    """The row's figures: over its seeds, with flip averaging, its size and its latency."""
    result = combine([read_run(run) for run in runs])
    test = load_dataset(result["recipe"]["data"], "test", data_dir)
    flipped = [evaluate(load_weights(run / WEIGHTS_FILE)[0], test, flip=True) for run in runs]
    size = summarize(row)
    accuracies = spread([each.accuracy for each in flipped])
    seconds = [run["training_seconds"] / result["recipe"]["epochs"] for run in result["runs"]]
    return {
        **result,
        "num_parameters": size.num_parameters,
        "num_multiply_adds": size.num_multiply_adds,
        "mean_ece": statistics.mean(run["test_ece"] for run in result["runs"]),
        "flip": {
            "mean_test_accuracy": accuracies["mean"],
            "standard_deviation": accuracies["standard_deviation"],
            "test_accuracy": accuracies,
            "test_accuracies": [each.accuracy for each in flipped],
            "mean_ece": statistics.mean(each.ece for each in flipped),
        },
        "seconds_per_epoch": statistics.median(seconds),
        "latency": latency({name: build_model(name) for name in dict.fromkeys([BASE, row])}, rounds=200),
    }


def figures(result: dict[str, Any]) -> str:
    """The row's own figures, as a table; those of its seeds come below it."""
    flip, latencies = result["flip"], result["latency"]
    base, own = latencies[BASE], latencies[result["recipe"]["model"]]
    teacher = result["recipe"].get("teacher")
    bank = result["recipe"].get("bank")
    learned = "none" if teacher is None else f"`{Path(teacher).name}`"
    together = f"median of the seeds, {result['at_once']} trained at once"
    rows = [
        ("parameters", result["num_parameters"]),
        ("multiply-adds", result["num_multiply_adds"]),
        ("test accuracy, averaged with the mirror image (flip)", mean_percent(flip["test_accuracy"])),
        ("expected calibration error", f"{result['mean_ece']:.4f} (flip: {flip['mean_ece']:.4f})"),
        ("seconds per epoch", f"{result['seconds_per_epoch']:.1f} ({together})"),
        ("teacher", learned if bank is None else f"the bank `{Path(bank).name}`"),
        (
            "latency of one image, PyTorch, one CPU thread",
            f"{own['median_ms']:.2f} ms, {own['ratio']:.2f} times the reference network's"
            f" {base['median_ms']:.2f} ms (in turn)",
        ),
    ]
    return table(("", ""), rows)


def main() -> int:
    """Train what is left to train, then measure and write."""
    # Nothing abbreviated: --data is thimble's, not --data-dir.
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("row", choices=list_models(), help="the architecture")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from --first-seed on")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, help="processes at a time; default: all on a GPU, one on the CPU")
    parser.add_argument("--bank-of", nargs="+", default=[], metavar="RUN", help="teachers, by their names in --runs")
    parser.add_argument("--views", type=int, default=32, help="of each image, in the bank")
    parser.add_argument("--mixed-views", type=int, default=10, help="how many of them are of two images")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop training after so long")
    parser.add_argument("--runs", type=Path, default=Path("runs/record"), help="folder for the runs")
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar-10-batches-bin/")
    add_output(parser, "benchmarks/results/record_ROW")
    own, options = parser.parse_known_args()
    at_once = own.at_once or (own.seeds if torch.cuda.is_available() else 1)
    deadline = time.monotonic() + 60 * own.minutes
    runs = [own.runs / f"{own.row}-seed{seed}" for seed in range(own.first_seed, own.first_seed + own.seeds)]
    if own.data_dir is not None:
        options += ["--data-dir", str(own.data_dir)]
    own.runs.mkdir(parents=True, exist_ok=True)
    if own.bank_of:
        bank = own.runs / "bank.safetensors"
        making = bank_command(bank, [own.runs / name for name in own.bank_of], own.views, own.mixed_views, own.data_dir)
        code = outcome(train_all([making], [bank.with_suffix(".log")], 1, deadline), [bank.with_suffix(".log")])
        if code != 0:
            return code
        options += ["--bank", str(bank)]
    commands, logs = [], []
    for seed, run in enumerate(runs, start=own.first_seed):
        found = command(own.row, seed, own.runs, options)
        if found is not None:
            commands.append(found)
            logs.append(run.with_suffix(".log"))
    code = outcome(train_all(commands, logs, at_once, deadline), logs)
    if code != 0:
        return code
    output = own.output or RESULTS / f"record_{own.row}"
    result = {**measure(own.row, runs, own.data_dir), "at_once": at_once}
    paragraphs = [headline(result), figures(result), *details(result)]
    publish(output, title(result), paragraphs, result, n=len(runs), repeated=counted(result))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")  # the logs tell of an epoch when it is done
    run_script(main)
