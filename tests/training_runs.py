"""What the tests of training share: an observer that interrupts, a teacher, and what to read in a run folder."""

from __future__ import annotations

import copy
import csv
import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import thimble.training.train
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import normalize
from thimble.data.shapes10 import shapes10
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import save_weights
from thimble.training.observer import Observer
from thimble.training.progress import Progress
from thimble.training.session import Session
from thimble.training.train import TrainResult

Whole = Callable[..., TrainResult]
"""What the fixture ``whole`` gives."""


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


def little_teacher() -> Classifier:
    """A network of the drawings that answers each with confidence, as an untrained one would not."""
    return copy.deepcopy(_teacher())


@cache
def _teacher() -> Classifier:
    drawings = shapes10(40, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = build_model("tiny")
    model.classes, model.mean, model.std = drawings.classes, drawings.mean, drawings.std
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    torch.nn.init.normal_(model.get_parameter("output.1.weight"), generator=torch.Generator().manual_seed(12))
    model.train()(normalize(drawings.images, drawings.mean, drawings.std))
    return model.eval()


def save_teacher(path: Path) -> Path:
    save_weights(path, little_teacher(), {})
    return path


def with_session(monkeypatch: pytest.MonkeyPatch, change: Callable[[Session], Any]) -> None:
    """Have every training's session changed before its first step."""
    begin = vars(thimble.training.train)["begin"]

    def changed(*arguments: Any) -> Session:
        session: Session = begin(*arguments)
        change(session)
        return session

    monkeypatch.setattr(thimble.training.train, "begin", changed)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / "model.safetensors")


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def history(epochs: int = 3, *, validation: bool = True) -> list[dict[str, Any]]:
    """An epoch takes 10 seconds."""
    return [
        {
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "train_accuracy": 1 - 0.5 / epoch,
            "validation_loss": 2.2 / epoch if validation else None,
            "validation_accuracy": 1 - 0.6 / epoch if validation else None,
            "learning_rate": 0.1 / epoch,
            "seconds": 10.0,
            "images_per_second": 12.0,
        }
        for epoch in range(1, epochs + 1)
    ]


def tiny() -> Classifier:
    """One parameter, one BatchNorm."""
    layers = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
    return Classifier({"block": layers}, name="tiny", arguments={"num_classes": 1})
