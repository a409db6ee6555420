"""Train on seven datasets of own images with the default settings, one command each, and tabulate the test accuracy.

    python benchmarks/own_images.py --archives ../shared/data/own --folder /tmp/own --seeds 3

The archives are unpacked into the folder. A finished run is not repeated, an interrupted one is resumed, so that the
table can be made in slices: ``--only`` names the datasets, ``--minutes`` ends the work. ``--earlier`` adds the runs of
a table whose folder is gone, as it was made on another machine; a run in the folder counts before one of the same
dataset and seed there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pages import add_output, mean_percent, publish, run_script, spread, table

from thimble.errors import UserError
from thimble.storage.weights import WEIGHTS_FILE, load_weights


@dataclass(frozen=True)
class Task:
    """One dataset: where its images are, what must be said of them, and what is to be reached.

    Attributes:
        place: the path inside the unpacked archives.
        options: what the folder cannot say itself, as flags of ``thimble train``.
        bar: the accuracy to reach, in 0..1; None if there is none.
        aim: the accuracy to aim at, in 0..1.
    """

    place: str
    options: tuple[str, ...] = ()
    bar: float | None = None
    aim: float | None = None


_COMMONEST = ("T-Shirt", "Longsleeve", "Pants", "Shoes", "Shirt", "Dress", "Outwear", "Shorts", "Hat", "Skirt")
TASKS = {
    "fashion-mnist": Task("fashion-mnist", bar=0.945, aim=0.952),
    "pneumonia-mnist": Task("pneumonia-mnist", bar=0.92, aim=0.946),
    "sign-language-digits": Task("sign-language-digits", bar=0.995, aim=0.999),
    "grocery-store": Task("grocery-store", ("--class-level", "0"), bar=0.68, aim=0.78),
    "clothing": Task("clothing/images.csv", ("--group", "sender_id", "--classes", *_COMMONEST), bar=0.81, aim=0.86),
    "omniglot-small": Task("omniglot-small", ("--class-level", "2"), bar=0.91, aim=0.95),
    "twemoji": Task("twemoji"),
}


def unpack(archives: Path, folder: Path, names: Iterable[str]) -> None:
    """Unpack these datasets' archives, unless their folders are there."""
    for name in names:
        if not (folder / name).is_dir():
            for archive in sorted((archives / name).glob("*.tar*")):
                with tarfile.open(archive) as file:
                    file.extractall(folder, filter="data")


def train(name: str, seed: int, folder: Path, runs: Path, more: list[str]) -> bool:
    """Train one dataset with one seed, or go on with it; return whether the run is finished."""
    task, run = TASKS[name], runs / f"{name}-seed{seed}"
    if (run / WEIGHTS_FILE).is_file():
        return True
    command = [sys.executable, "-m", "thimble", "train"]
    if (run / "config.json").is_file():
        command += ["--resume", str(run)]
    else:
        where = ["--seed", str(seed), "--runs", str(runs), "--name", run.name]
        command += ["--data", str(folder / task.place), *task.options, *where, *more]
    print(" ".join(command), flush=True)
    subprocess.run([*command, "--no-report"], check=False)
    return (run / WEIGHTS_FILE).is_file()


def read_run(run: Path) -> dict[str, Any]:
    """The figures of one finished run."""
    model, metadata = load_weights(run / WEIGHTS_FILE)
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    rows = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    column = rows[0].split(",").index("seconds")
    recipe, test = metadata["recipe"], metadata["metrics"]["test"]
    return {
        "seed": recipe["seed"],
        "accuracy": test["accuracy"],
        "balanced_accuracy": test["balanced_accuracy"],
        "macro_f1": test["macro_f1"],
        "test_images": test["num_images"],
        "train_images": metadata["data"]["train_images"],
        "classes": len(model.classes),
        "parameters": model.num_parameters,
        "input_size": list(model.input_size),
        "fit": model.fit,
        "epochs": recipe["epochs"],
        "batch_size": recipe["batch_size"],
        "class_weights": recipe["class_weights"],
        "dropout": recipe["dropout"],
        "flip": recipe["augment"]["flip"],
        "training_seconds": sum(float(row.split(",")[column]) for row in rows[1:]),
        "device": environment["device"],
        "threads": environment["torch_threads"],
        "processor": environment["processor"],
    }


def summarize(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the seeds of one dataset together."""
    task, timed = TASKS[name], [run for run in runs if run["device"] == "cpu" and run["threads"] == 2]
    return {
        "dataset": name,
        "options": list(task.options),
        "bar": task.bar,
        "aim": task.aim,
        **{key: spread([run[key] for run in runs]) for key in ("accuracy", "balanced_accuracy", "macro_f1")},
        "minutes": spread([run["training_seconds"] / 60 for run in timed]) if timed else None,
        "timed": len(timed),
        "on_gpu": sum(run["device"] != "cpu" for run in runs),
        "runs": runs,
    }


def row(result: dict[str, Any]) -> list[object]:
    """A dataset's row of the table."""
    first, bar = result["runs"][0], result["bar"]
    channels, height, _ = first["input_size"]
    verdict = None if bar is None else f"{bar:.1%}" + ("" if result["accuracy"]["mean"] >= bar else ", not met")
    return [
        result["dataset"],
        first["classes"],
        first["train_images"],
        first["test_images"],
        f"{height} px, {'grey' if channels == 1 else 'colour'}, {first['fit']}",
        first["parameters"],
        f"{first['epochs']} of {first['batch_size']}",
        f"{first['class_weights']}, {first['flip']}, {first['dropout']:g}",
        f"{result['accuracy']['n']}, {result['on_gpu']} on a GPU" if result["on_gpu"] else result["accuracy"]["n"],
        mean_percent(result["accuracy"]),
        mean_percent(result["balanced_accuracy"]),
        verdict,
        None if result["minutes"] is None else f"{result['minutes']['mean']:.1f}",
    ]


_HEADER = (
    *("dataset", "classes", "training images", "test images", "input", "parameters", "epochs, batch"),
    *("class weights, flip, dropout", "n", "test accuracy", "balanced accuracy", "bar", "minutes"),
)


def paragraphs(results: list[dict[str, Any]]) -> list[str]:
    """The page's words and table."""
    return [
        "Each row is one command, `thimble train --data PATH`, with default settings: mean and standard deviation of"
        " the test accuracy over the seeds, by the last averaged weights; the test images were read once, at the end."
        " The minutes are the epochs' training, of the runs with two CPU threads.",
        table(_HEADER, [row(result) for result in results]),
        "What the folder cannot say itself was said: "
        + "; ".join(f"{name} `{' '.join(task.options)}`" for name, task in TASKS.items() if task.options)
        + ".",
    ]


def read_earlier(path: Path | None) -> dict[str, dict[int, dict[str, Any]]]:
    """The runs in the JSON file of an earlier table, by dataset and seed."""
    if path is None:
        return {}
    try:
        datasets = json.loads(path.read_text(encoding="utf-8"))["datasets"]
        return {each["dataset"]: {run["seed"]: run for run in each["runs"]} for each in datasets}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--earlier {path}: expected the JSON file of a table by this script ({error!r})") from error


def collect(
    names: Iterable[str], seeds: int, runs: Path, earlier: dict[str, dict[int, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The datasets that have finished runs, in the folder or in an earlier table, with their seeds put together."""
    results = []
    for name in names:
        found = dict(earlier.get(name, {}))
        for seed in range(seeds):
            run = runs / f"{name}-seed{seed}"
            if (run / WEIGHTS_FILE).is_file():
                found[seed] = read_run(run)
        if found:
            results.append(summarize(name, [found[seed] for seed in sorted(found)]))
    return results


def main() -> int:
    """Train what is missing, and write the two files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--archives", type=Path, default=Path("../shared/data/own"), help="the packed datasets")
    parser.add_argument("--folder", type=Path, required=True, help="where they are unpacked, and the runs are kept")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), help="these datasets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further run after so long")
    parser.add_argument("--earlier", type=Path, help="the JSON file of an earlier table, whose runs count too")
    add_output(parser)
    options, more = parser.parse_known_args()
    if not options.archives.is_dir():
        raise UserError(f"{options.archives} is not a folder: expected the packed datasets")
    began, runs, earlier = time.monotonic(), options.folder / "runs", read_earlier(options.earlier)
    missing = [
        (seed, name) for seed in range(options.seeds) for name in options.only if seed not in earlier.get(name, {})
    ]
    unpack(options.archives, options.folder, {name for _, name in missing})
    for seed, name in missing:  # every dataset once before any of them twice
        if time.monotonic() - began < 60 * options.minutes:
            train(name, seed, options.folder, runs, more)
    results = collect(options.only, options.seeds, runs, earlier)
    if not results:
        raise UserError(f"no run in {runs} is finished: expected at least one; run again with more --minutes")
    count = min(result["accuracy"]["n"] for result in results)
    publish(
        options.output,
        "Own images, default settings",
        paragraphs(results),
        {"datasets": results},
        n=count,
        repeated="seeds",
    )
    return 0


if __name__ == "__main__":
    run_script(main)
