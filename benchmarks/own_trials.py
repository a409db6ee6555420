"""What a change of the recipe ``own`` is worth on datasets of own images, judged on images held out of training.

    python benchmarks/own_trials.py grocery-store clothing --folder /tmp/own --seeds 3 --set dropout=0.5

Trains on a dataset's training part and measures on its validation part; the test images are not read. Each trial is
added to the file ``--trials`` as a line of JSON, and one that is there is not repeated. Settings are those of
``thimble train``, with underscores; ``image_size``, ``fit`` and ``channels`` too. The folder is that of
``benchmarks/own_images.py``.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from own_checks import settings
from own_images import TASKS, unpack
from pages import run_script

import thimble
from thimble.data.own.own_images import OwnImages
from thimble.errors import UserError

OF_IMAGES = ("image_size", "fit", "channels")


def parse(assignments: list[str]) -> dict[str, Any]:
    """Settings by name from texts such as ``dropout=0.5``; a value is a Python literal, or else a text."""
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, sign, value = assignment.partition("=")
        if not sign:
            raise UserError(f"--set {assignment}: expected NAME=VALUE")
        try:
            found[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            found[name] = value
    return found


def trial(dataset: str, seed: int, changes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train once, and measure on the validation images."""
    task = TASKS[dataset]
    of_images = {name: value for name, value in changes.items() if name in OF_IMAGES}
    others = {name: value for name, value in changes.items() if name not in OF_IMAGES}
    source = OwnImages(folder / task.place, dataclasses.replace(settings(task), **of_images))
    training, validation = source.load("train"), source.validation()
    if validation is None:
        raise UserError(f"{dataset} has no validation images: expected some to judge by")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as runs:
        result = thimble.train(
            data=(training, validation), recipe="own", validation=0, runs=Path(runs), name="trial", seed=seed, **others
        )
    measured = result.test  # of the validation images, which take the test images' place
    return {
        "accuracy": round(measured.accuracy, 4),
        "balanced_accuracy": round(measured.balanced_accuracy, 4),
        "images": measured.num_images,
        "training_accuracy": round(result.history[-1]["train_accuracy"], 4),
        "epochs": len(result.history),
        "seconds": round(time.monotonic() - began),
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, threads: {torch.get_num_threads()}",
    }


def main() -> int:
    """Make the trials that are missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("datasets", nargs="+", choices=TASKS)
    parser.add_argument("--archives", type=Path, default=Path("../shared/data/own"), help="the packed datasets")
    parser.add_argument("--folder", type=Path, required=True, help="where they are unpacked")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="what differs from the recipe")
    parser.add_argument("--trials", type=Path, default=Path("own_trials.jsonl"), help="the file of lines")
    options = parser.parse_args()
    unpack(options.archives, options.folder, options.datasets)
    changes = parse(options.set)
    known = options.trials.read_text(encoding="utf-8").splitlines() if options.trials.is_file() else []
    done = [{key: json.loads(line)[key] for key in ("dataset", "seed", "changes")} for line in known]
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for dataset in options.datasets:
            asked = {"dataset": dataset, "seed": seed, "changes": changes}
            if json.loads(json.dumps(asked)) in done:
                continue
            line = json.dumps({**asked, **trial(dataset, seed, changes, options.folder)})
            print(line, flush=True)
            with options.trials.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return 0


if __name__ == "__main__":
    run_script(main)
