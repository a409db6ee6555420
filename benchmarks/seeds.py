"""Put finished runs that differ in their seed alone into one result: test accuracy, its mean and spread, and the cost.

    python benchmarks/seeds.py runs/seed0 runs/seed1 runs/seed2 --output benchmarks/results/NAME

Every figure is read from the runs' own files; nothing is measured here.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
from pathlib import Path
from typing import Any

from pages import add_output, mean_percent, publish, run_script, spread, table

from thimble.errors import UserError
from thimble.storage.weights import WEIGHTS_FILE, load_weights


def read_run(run: Path) -> dict[str, Any]:
    """The figures of one finished run."""
    _, metadata = load_weights(run / WEIGHTS_FILE)
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        history = [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]
    seconds = sum(row["seconds"] for row in history)
    images = sum(row["images_per_second"] * row["seconds"] for row in history)
    test = metadata["metrics"]["test"]
    return {
        "run": run.name,
        "seed": metadata["recipe"]["seed"],
        "test_accuracy": test["accuracy"],
        "test_interval": test["accuracy_interval"],
        "test_nll": test["nll"],
        "test_ece": test["ece"],
        "validation_accuracy": metadata["metrics"]["last_epoch"]["validation_accuracy"],
        "training_seconds": seconds,
        "images_per_second": images / seconds,
        "torch_threads": environment["torch_threads"],
        "processor": environment["processor"],
        "device": environment["device"],
        "torch": environment["versions"]["torch"],
        "command": environment["command"],
        "recipe": {name: value for name, value in metadata["recipe"].items() if name not in PLACES},
    }


PLACES = {"seed", "name", "runs", "data_dir", "overwrite", "device", "workers", "fallback"}
"""Settings that do not make two runs different recipes."""


def combine(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds.

    Raises:
        UserError: the runs are of different recipes, or two have the same seed.
    """
    if any(run["recipe"] != runs[0]["recipe"] for run in runs):
        raise UserError("the runs differ in more than their seed: expected one recipe")
    if len({run["seed"] for run in runs}) < len(runs):
        raise UserError("two runs have the same seed: expected different ones")
    accuracies = spread([run["test_accuracy"] for run in runs])
    return {
        "num_runs": accuracies["n"],
        "mean_test_accuracy": accuracies["mean"],
        "standard_deviation": accuracies["standard_deviation"],
        "least": accuracies["least"],
        "greatest": accuracies["greatest"],
        "test_accuracy": accuracies,
        "recipe": runs[0]["recipe"],
        "runs": [{name: value for name, value in run.items() if name != "recipe"} for run in runs],
    }


def title(result: dict[str, Any]) -> str:
    """Of the page: the network, its data and the number of seeds."""
    return f"{result['recipe']['model']} on {result['recipe']['data']}: {result['num_runs']} {counted(result)}"


def counted(result: dict[str, Any]) -> str:
    """What a result's number of runs counts."""
    return "seed" if result["num_runs"] == 1 else "seeds"


def headline(result: dict[str, Any]) -> str:
    """The accuracy, in a sentence."""
    accuracy = result["test_accuracy"]
    runs = "one run"
    if accuracy["n"] > 1:
        runs = (
            f"mean and standard deviation in points (n = {accuracy['n']}, least {accuracy['least']:.2%}, greatest"
            f" {accuracy['greatest']:.2%})"
        )
    return (
        f"Test accuracy **{mean_percent(accuracy)}**, {runs}. The last averaged weights; the test images were"
        " read once, after the last epoch; no test-time augmentation."
    )


def details(result: dict[str, Any], note: str = "") -> list[str]:
    """The seeds' table, the machines, a note, and the recipe."""
    cells = []
    for run in result["runs"]:
        low, high = run["test_interval"]
        validation = None if run["validation_accuracy"] is None else f"{run['validation_accuracy']:.2%}"
        cost = [f"{run['training_seconds'] / 60:.1f} min", f"{run['images_per_second']:.0f}", run["torch_threads"]]
        errors = [f"{run['test_nll']:.4f}", f"{run['test_ece']:.4f}"]
        accuracies = [f"{run['test_accuracy']:.2%}", f"{low:.2%} to {high:.2%}", validation]
        # As one would type it: a folder with a space in its name is one argument.
        cells.append([run["seed"], *accuracies, *errors, *cost, f"`{shlex.join(run['command'] or [])}`"])
    header = ["seed", "test", "95% interval", "validation", "NLL", "ECE", "training", "images/s", "threads", "command"]
    machines = sorted({f"{run['processor']} ({run['device']}), torch {run['torch']}" for run in result["runs"]})
    recipe = json.dumps(result["recipe"], indent=2)
    return [
        table(header, cells),
        f"Trained on: {'; '.join(machines)}. {note}".rstrip(),
        "Recipe:",
        f"```json\n{recipe}\n```",
    ]


def main() -> int:
    """Read the runs and write the two files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished run folders")
    add_output(parser)
    parser.add_argument("--note", default="", help="what a reader must know of the circumstances")
    options = parser.parse_args()
    result = combine([read_run(run) for run in options.runs])
    paragraphs = [headline(result), *details(result, options.note)]
    publish(options.output, title(result), paragraphs, result, n=result["num_runs"], repeated=counted(result))
    return 0


if __name__ == "__main__":
    run_script(main)
