"""Train, evaluate and use image classifiers of about 150,000 parameters.

Importing this package imports nothing heavy: each public name below is loaded at its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import Interrupted, RunError, UserError
from .system import telemetry
from .version import __version__

telemetry.switch_off()

if TYPE_CHECKING:
    from .data.augment.settings import AugmentConfig
    from .data.dataset import ImageDataset
    from .explaining.explanation import explain
    from .exporting.export import export
    from .measuring.comparison import compare
    from .measuring.evaluation import evaluate
    from .measuring.prediction import predict
    from .measuring.summary import summarize
    from .models import build_model, list_models
    from .sharing.hub import HubClassifier
    from .storage.find import load_model, load_pretrained
    from .training.config import TrainConfig
    from .training.train import train

__all__ = [
    "AugmentConfig",
    "HubClassifier",
    "ImageDataset",
    "Interrupted",
    "RunError",
    "TrainConfig",
    "UserError",
    "__version__",
    "build_model",
    "compare",
    "evaluate",
    "explain",
    "export",
    "list_models",
    "load_model",
    "load_pretrained",
    "predict",
    "summarize",
    "train",
]

_HOMES = {
    "AugmentConfig": "data.augment.settings",
    "HubClassifier": "sharing.hub",
    "ImageDataset": "data.dataset",
    "TrainConfig": "training.config",
    "build_model": "models",
    "compare": "measuring.comparison",
    "evaluate": "measuring.evaluation",
    "explain": "explaining.explanation",
    "export": "exporting.export",
    "list_models": "models",
    "load_model": "storage.find",
    "load_pretrained": "storage.find",
    "predict": "measuring.prediction",
    "summarize": "measuring.summary",
    "train": "training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
