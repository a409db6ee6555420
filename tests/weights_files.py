"""What the tests of weights files share: a model with metadata of its own, ways to look into a file and change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from thimble.errors import UserError
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import load_weights


def model_of_three() -> Classifier:
    """With statistics and metadata that no fresh model has."""
    torch.manual_seed(0)
    model = build_model("reference", num_classes=3, dropout=0.25)
    model.train()(torch.randn(8, 3, 16, 16))
    model.classes = ("cat", "dog", "écureuil")
    model.mean, model.std, model.input_size = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (3, 24, 16)
    return model.eval()


def described(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="pt") as file:
        result: dict[str, Any] = json.loads(file.metadata()["thimble"])
    return result


def rewrite(path: Path, tensors: dict[str, Tensor] | None = None, metadata: Any = None, **changes: Any) -> None:
    """Write a file again with other tensors, or other metadata."""
    text = json.dumps({**described(path), **changes}) if metadata is None else metadata
    tensors = safetensors.torch.load_file(path) if tensors is None else tensors
    safetensors.torch.save_file(tensors, path, {"thimble": text})


def refusal(path: Path) -> str:
    """The one line that refuses a weights file."""
    with pytest.raises(UserError) as caught:
        load_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message
