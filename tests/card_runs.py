"""What the tests of cards share: a recipe, and a card's front matter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from thimble.data.shapes10 import shapes10
from thimble.measuring.evaluation import evaluate
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import save_weights

RECIPE = {
    "model": "reference",
    "data": "/home/somebody/photos",
    "epochs": 2,
    "batch_size": 16,
    "optimizer": "sgd",
    "seed": 7,
    "data_dir": "/home/somebody/data",
    "runs": "/home/somebody/runs",
    "teacher": "/home/somebody/runs/teacher",
    "bank": "/home/somebody/bank.safetensors",
    "image_sizes": [16, 32],
}


def front(card: str) -> dict[str, Any]:
    """The YAML, found as the Hub finds it."""
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = yaml.safe_load(found[1])
    return values


@pytest.fixture(scope="module")
def drawn() -> tuple[Classifier, dict[str, Any]]:
    """A model of the drawings, with what a training of it would record."""
    data = shapes10(40, seed=2)
    torch.manual_seed(0)
    model = build_model("reference").eval()
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    return model, {
        "recipe": RECIPE,
        "data": {"name": "shapes10", "train_images": 20000, "validation_images": 500},
        "metrics": {"last_epoch": {"validation_accuracy": 0.125}, "test": evaluate(model, data).to_dict()},
        "teacher_sha256": "ab" * 32,
    }


@pytest.fixture
def run(tmp_path: Path, drawn: tuple[Classifier, dict[str, Any]]) -> Path:
    folder = tmp_path / "my-run"
    save_weights(folder / "model.safetensors", *drawn)
    (folder / "environment.json").write_text(json.dumps({"command": ["thimble", "train", "--name", "a b"]}))
    return folder
