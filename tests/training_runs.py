"""What the tests of training share: an observer that interrupts, and what to read in a run folder."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from thimble.config import AugmentConfig
from thimble.progress import Observer, Progress


class Interrupting(Observer):
    """Sends this process a signal when so many steps are done."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.at, self.number = step, number
        self.steps: list[int] = []

    def step(self, progress: Progress) -> None:
        self.steps.append(progress.step)
        if progress.step == self.at:
            os.kill(os.getpid(), self.number)


# All that sets the fast recipe apart from the reference recipe.
FAST: dict[str, Any] = {
    "optimizer": "muon",
    "whiten": True,
    "image_sizes": (16, 32),
    "skip_easy": 0.2,
    "ema_decay": 0.0,
    "precision": "bf16",
    "augment": AugmentConfig(affine_probability=1.0, augmenter="batched"),
}


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / "model.safetensors")


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
