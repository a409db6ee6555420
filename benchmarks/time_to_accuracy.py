"""Seconds of training to 85% of the CIFAR-10 test images: Thimble's fast recipe beside what a learner would write.

    python benchmarks/time_to_accuracy.py [--seeds 3] [--plain-seeds 1] [--fraction 1.0] --output FOLDER/NAME
    python benchmarks/time_to_accuracy.py --plain-seeds 0 --sprint-seeds 5 --ninety-seeds 5 --output FOLDER/NAME

(a) *plain*: the reference network in an ordinary PyTorch loop: Albumentations in a DataLoader with two workers,
    float32, NCHW, batch 128, SGD with OneCycleLR over 24 epochs of the 50,000 training images;
(b) *fast*: ``thimble train --recipe fast``;
(c) *90%*: the same recipe to 90%, with a network of the family and image sizes of its own (``NINETY``);
(d) *sprint*: the same recipe with the network that is made for it, ``sprint``.

Each run has a process of its own; they take turns on the same machine. Counted are the seconds of training: steps with
their augmentation and the workers' start, not imports, evaluation, validation, saving or download. The last weights are
tested, once. Machines are noisy: read the ratio. Run it on an idle machine.

``--fraction 0.1`` trains (a) for a tenth of its steps and extrapolates its seconds, as all its epochs cost the same; it
then has no accuracy. (b), whose epochs differ, is always run whole. The result is written after every run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pages import add_output, mean_percent, publish, run_script, spread, table

EPOCHS, BATCH, WORKERS = 24, 128, 2
TARGET = 0.85
SPRINT = ("--model", "sprint")
NINETY = ("--model", "thimble-150k", "--image-sizes", "16", "16", "16", "20", "20", "24", "32", "32")
OPTIONS: dict[str, tuple[str, ...]] = {"fast": (), "sprint": SPRINT, "90%": NINETY}
"""What each recipe adds to ``thimble train --recipe fast``."""
RECIPES = ("plain", *OPTIONS)


class PlainDataset:
    """CIFAR-10 as a learner has it, one image at a time. Written out here: it must not change when Thimble does."""

    def __init__(self, images: Any, labels: Any, mean: Any, std: Any) -> None:
        os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
        import albumentations as A
        import cv2
        from albumentations.pytorch import ToTensorV2

        from thimble.data.augment.settings import AugmentConfig

        cv2.setNumThreads(0)  # many a learner leaves this out, and loses time by it
        augment, self.images, self.labels = AugmentConfig(), images, labels
        self.transform = A.Compose(
            [
                A.HorizontalFlip(p=augment.flip_probability),
                A.ShiftScaleRotate(
                    shift_limit=augment.shift_limit,
                    scale_limit=augment.scale_limit,
                    rotate_limit=augment.rotate_limit_degrees,
                    border_mode=cv2.BORDER_REFLECT_101,
                    interpolation=cv2.INTER_NEAREST,
                    p=augment.affine_probability,
                ),
                A.CoarseDropout(
                    num_holes_range=(1, 1),
                    hole_height_range=augment.cutout_size,
                    hole_width_range=augment.cutout_size,
                    fill=tuple(255 * channel for channel in mean),
                    p=augment.cutout_probability,
                ),
                A.Normalize(mean, std),
                ToTensorV2(),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(image=self.images[index])["image"], self.labels[index]


def _seed_worker(worker: int) -> None:
    import torch

    info = torch.utils.data.get_worker_info()
    info.dataset.transform.set_random_seed(torch.initial_seed() % 2**32)  # type: ignore[union-attr]


def run_plain(seed: int, fraction: float, data_dir: Path | None) -> dict[str, Any]:
    """Train (a), or the first part of it; its seconds are those of the whole, extrapolated if need be."""
    import torch
    from torch.utils.data import DataLoader

    from thimble.data.sources import load_dataset
    from thimble.measuring.evaluation import evaluate
    from thimble.models import build_model

    data = load_dataset("cifar10", "train", data_dir)
    torch.manual_seed(seed)
    model = build_model("reference")
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    images = np.ascontiguousarray(data.images.permute(0, 2, 3, 1).numpy())
    dataset: Any = PlainDataset(images, data.labels.tolist(), data.mean, data.std)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, worker_init_fn=_seed_worker)
    num_steps = EPOCHS * len(loader)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=num_steps, pct_start=0.2)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    last, step = round(num_steps * fraction), 0
    started = time.perf_counter()
    while step < last:
        for inputs, targets in loader:
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step == last:
                break
    seconds = time.perf_counter() - started
    accuracy = evaluate(model, load_dataset("cifar10", "test", data_dir)).accuracy if step == num_steps else None
    return {
        "seconds": seconds * num_steps / step,
        "measured_seconds": seconds,
        "steps": step,
        "epochs": EPOCHS,
        "images": num_steps * BATCH,
        "test_accuracy": accuracy,
    }


def run_fast(seed: int, data_dir: Path | None, options: list[str]) -> dict[str, Any]:
    """Train (b) by its command, and read what its run folder says."""
    import csv

    from thimble.storage.weights import load_weights

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "thimble", "train", "--recipe", "fast", "--seed", str(seed)]
        command += ["--runs", folder, "--name", "run", *options]
        if data_dir is not None:
            command += ["--data-dir", str(data_dir)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        with (Path(folder) / "run" / "metrics.csv").open(encoding="utf-8") as file:
            rows = [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]
        metadata = load_weights(Path(folder) / "run" / "model.safetensors")[1]
        environment = json.loads((Path(folder) / "run" / "environment.json").read_text(encoding="utf-8"))
    return {
        "seconds": sum(row["seconds"] for row in rows),
        "epochs": len(rows),
        "images": round(sum(row["images_per_second"] * row["seconds"] for row in rows)),
        "test_accuracy": metadata["metrics"]["test"]["accuracy"],
        "precision": metadata["recipe"]["precision"],
        "processor": environment["processor"],
        "device": environment["device"],
    }


def run_child(recipe: str, seed: int, options: argparse.Namespace, rest: list[str]) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--only", recipe, "--seed", str(seed), "--fraction", str(options.fraction)]
    if options.data_dir:
        command += ["--data-dir", str(options.data_dir)]
    print(f"{time.strftime('%H:%M:%S')} {recipe}, seed {seed}", file=sys.stderr, flush=True)
    output = subprocess.run([*command, *rest], check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout
    result: dict[str, Any] = {"recipe": recipe, "seed": seed, **json.loads(output.splitlines()[-1])}
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and spreads of each recipe, and the ratio of their seconds."""
    summary: dict[str, Any] = {}
    for recipe in RECIPES:
        chosen = [run for run in runs if run["recipe"] == recipe]
        if chosen:
            seconds = spread([run["seconds"] for run in chosen])
            tested = [run["test_accuracy"] for run in chosen if run["test_accuracy"] is not None]
            accuracy = spread(tested) if tested else None
            summary[recipe] = {
                "num_runs": len(chosen),
                "epochs": chosen[0]["epochs"],
                "seconds": seconds,
                "median_seconds": seconds["median"],
                "least_seconds": seconds["least"],
                "greatest_seconds": seconds["greatest"],
                "images_per_second": statistics.median(run["images"] / run["seconds"] for run in chosen),
                "num_tested": len(tested),
                "test_accuracy": accuracy,
                "mean_test_accuracy": accuracy["mean"] if accuracy else None,
                "standard_deviation": accuracy["standard_deviation"] if accuracy else None,
                "least_test_accuracy": accuracy["least"] if accuracy else None,
            }
    if "plain" in summary and "fast" in summary:
        summary["ratio"] = summary["plain"]["median_seconds"] / summary["fast"]["median_seconds"]
    for recipe in OPTIONS.keys() - {"fast"}:
        if recipe in summary and "fast" in summary:
            summary[f"ratio_{recipe}"] = summary[recipe]["median_seconds"] / summary["fast"]["median_seconds"]
    return summary


def paragraphs(summary: dict[str, Any], runs: list[dict[str, Any]], fraction: float) -> list[str]:
    """The page: a row for each recipe, what it ran on, and a row for each run."""
    rows = []
    for recipe in RECIPES:
        if recipe in summary:
            row = summary[recipe]
            accuracy = "not measured: a part of the run"
            if row["test_accuracy"] is not None:
                least = f"least {row['least_test_accuracy']:.2%}"
                accuracy = f"{mean_percent(row['test_accuracy'])} (n = {row['num_tested']}, {least})"
            seconds = [f"{row['median_seconds']:.1f}", f"{row['least_seconds']:.1f} to {row['greatest_seconds']:.1f}"]
            rows.append([recipe, row["num_runs"], *seconds, row["epochs"], f"{row['images_per_second']:.0f}", accuracy])
    header = ["recipe", "n", "seconds, median", "least to greatest", "epochs", "images/s", "test accuracy"]
    found = [table(header, rows)]
    if "ratio" in summary:
        found.append(f"**The fast recipe takes 1/{summary['ratio']:.1f} of the plain recipe's time.**")
    if "ratio_90%" in summary:
        found.append(
            f"**To 90%: {summary['ratio_90%']:.2f} times the fast recipe's time**, by"
            f" `thimble train --recipe fast {' '.join(NINETY)}`."
        )
    if fraction < 1 and "plain" in summary:
        found.append(
            f"The plain recipe's seconds are extrapolated from {fraction:.1%} of its steps: its epochs are all alike."
        )
    if "ratio_sprint" in summary:
        found.append(
            f"**`sprint` takes {summary['ratio_sprint']:.2f} of the reference network's time**, by"
            f" `thimble train --recipe fast {' '.join(SPRINT)}`."
        )
    fast = next((run for run in runs if run["recipe"] == "fast"), None)
    where = f"The fast recipe ran on {fast['processor']}, {fast['device']}, {fast['precision']}" if fast else ""
    plain = "the plain one in float32 on the CPU" if "plain" in summary else ""
    ran = "; ".join(part for part in (where, plain) if part)
    each = []
    for run in runs:
        accuracy = "" if run["test_accuracy"] is None else f"{run['test_accuracy']:.2%}"
        speed = run["images"] / run["seconds"]
        each.append([run["recipe"], run["seed"], f"{run['seconds']:.1f}", f"{speed:.0f}", accuracy])
    return [
        *found,
        f"{ran[:1].upper()}{ran[1:]}. Accuracies are of the last weights on the 10,000 test images, read"
        " once, without test-time augmentation; ± is a standard deviation in points.",
        table(["run", "seed", "seconds", "images/s", "test accuracy"], each),
    ]


def main() -> int:
    """Run both recipes in turn, or, as a child, one of them."""
    parser = argparse.ArgumentParser(description="Seconds to 85%: a plain PyTorch recipe against Thimble's fast one.")
    parser.add_argument("--seeds", type=int, default=3, help="runs of the fast recipe")
    parser.add_argument("--plain-seeds", type=int, default=1, help="runs of the plain recipe")
    parser.add_argument("--ninety-seeds", type=int, default=0, help="runs to 90 percent")
    parser.add_argument("--sprint-seeds", type=int, default=0, help="runs with the network sprint")
    parser.add_argument("--fraction", type=float, default=1.0, help="part of the plain recipe's steps to run")
    parser.add_argument("--data-dir", type=Path)
    add_output(parser)
    parser.add_argument("--only", choices=RECIPES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()  # what is left goes to `thimble train --recipe fast`
    if not 0 < options.fraction <= 1:
        parser.error(f"--fraction {options.fraction}: expected above 0, at most 1")
    if options.only == "plain":
        print(json.dumps(run_plain(options.seed, options.fraction, options.data_dir)))
        return 0
    if options.only:
        print(json.dumps(run_fast(options.seed, options.data_dir, [*OPTIONS[options.only], *rest])))
        return 0
    wanted = (options.plain_seeds, options.seeds, options.sprint_seeds, options.ninety_seeds)
    turns = [
        (recipe, seed)
        for seed in range(max(wanted))
        for recipe, num_seeds in zip(RECIPES, wanted, strict=True)
        if seed < num_seeds
    ]
    runs: list[dict[str, Any]] = []
    for recipe, seed in turns:
        runs.append(run_child(recipe, seed, options, rest))
        summary = summarise(runs)
        publish(
            options.output,
            f"Seconds of training to {TARGET:.0%}{' and to 90%' if options.ninety_seeds else ''} of CIFAR-10",
            paragraphs(summary, runs, options.fraction),
            {"fraction": options.fraction, "summary": summary, "runs": runs},
            n=len(runs),
            repeated="runs, the recipes in turn",
            show=len(runs) == len(turns),
        )
    return 0


if __name__ == "__main__":
    run_script(main)
