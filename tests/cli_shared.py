"""What the tests of the command line share: little trainings, untrained weights, one line."""

from __future__ import annotations

from pathlib import Path

import torch

from thimble.data.shapes10 import shapes10
from thimble.models import build_model
from thimble.storage.weights import save_weights

LITTLE = ["--data", "shapes10", "--train-images", "64", "--validation", "20", "--batch-size", "16", "--device", "cpu"]


def untrained(name: str, path: Path) -> Path:
    torch.manual_seed(0)
    model = build_model(name)
    drawings = shapes10(10)
    model.classes, model.mean, model.std = drawings.classes, drawings.mean, drawings.std
    save_weights(path, model, {"data": {"name": "shapes10"}})
    return path


def one_line(text: str) -> str:
    assert text.startswith("thimble: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text
