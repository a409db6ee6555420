"""Put finished runs that differ in their seed alone into one result: test accuracy, its mean and spread, and the cost.

    python benchmarks/seeds.py runs/seed0 runs/seed1 runs/seed2 --output benchmarks/results/NAME

writes NAME.md and NAME.json. Every figure is read from the runs' own files; nothing is measured here.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

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
    accuracies = [run["test_accuracy"] for run in runs]
    return {
        "num_runs": len(runs),
        "mean_test_accuracy": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies) if len(runs) > 1 else None,
        "least": min(accuracies),
        "greatest": max(accuracies),
        "recipe": runs[0]["recipe"],
        "runs": [{name: value for name, value in run.items() if name != "recipe"} for run in runs],
    }


def markdown(result: dict[str, Any], note: str, command: str) -> str:
    """The result as a page."""
    recipe, spread = result["recipe"], result["standard_deviation"]
    lines = [
        f"# {recipe['model']} on {recipe['data']}: {result['num_runs']} seed{'s' * (result['num_runs'] > 1)}",
        "",
        f"Test accuracy **{result['mean_test_accuracy']:.2%}**, "
        + (
            "one run"
            if spread is None
            else f"mean of {result['num_runs']}, standard deviation {100 * spread:.2f} points"
        )
        + ("" if spread is None else f", least {result['least']:.2%}, greatest {result['greatest']:.2%}")
        + ". The last averaged weights; the test"
        " images were read once, after the last epoch; no test-time augmentation.",
        "",
        "| seed | test | 95% interval | validation | NLL | ECE | training | images/s | threads | command |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for run in result["runs"]:
        low, high = run["test_interval"]
        validation = "" if run["validation_accuracy"] is None else f"{run['validation_accuracy']:.2%}"
        lines.append(
            f"| {run['seed']} | {run['test_accuracy']:.2%} | {low:.2%} to {high:.2%} | {validation}"
            f" | {run['test_nll']:.4f} | {run['test_ece']:.4f} | {run['training_seconds'] / 60:.1f} min"
            f" | {run['images_per_second']:.0f} | {run['torch_threads']} | `{' '.join(run['command'] or [])}` |"
        )
    machines = sorted({f"{run['processor']} ({run['device']}), torch {run['torch']}" for run in result["runs"]})
    recipe_json = json.dumps(recipe, indent=2)
    lines += ["", f"Machine: {'; '.join(machines)}. {note}".rstrip(), "", "Recipe:", "", "```json", recipe_json, "```"]
    return "\n".join([*lines, "", f"Made by `{command}`."]) + "\n"


def main() -> int:
    """Read the runs and write the two files."""
    parser = argparse.ArgumentParser(description="Put runs that differ in their seed alone into one result.")
    parser.add_argument("runs", nargs="+", type=Path, help="finished run folders")
    parser.add_argument("--output", type=Path, required=True, help="name of the result, without an ending")
    parser.add_argument("--note", default="", help="what a reader must know of the circumstances")
    options = parser.parse_args()
    try:
        result = combine([read_run(run) for run in options.runs])
    except UserError as error:
        print(f"seeds: {error}", file=sys.stderr)
        return 2
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    command = "python benchmarks/seeds.py " + shlex.join(sys.argv[1:])
    options.output.with_suffix(".md").write_text(markdown(result, options.note, command), encoding="utf-8")
    print(options.output.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
