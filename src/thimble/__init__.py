"""Train, evaluate and use image classifiers of about 150,000 parameters.

Importing this package imports nothing heavy: each public name below is loaded at its first use.
"""

from __future__ import annotations

import importlib
import importlib.util
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
    from .reporting.report import write_report as report
    from .sharing.card import model_card as card
    from .sharing.hub import HubClassifier as HubClassifier
    from .storage.find import load_model, load_pretrained
    from .training.config import TrainConfig
    from .training.train import train

__all__ = [
    "AugmentConfig",
    "ImageDataset",
    "Interrupted",
    "RunError",
    "TrainConfig",
    "UserError",
    "__version__",
    "build_model",
    "card",
    "compare",
    "evaluate",
    "explain",
    "export",
    "list_models",
    "load_model",
    "load_pretrained",
    "predict",
    "report",
    "summarize",
    "train",
]

_HOMES = {
    "AugmentConfig": "data.augment.settings:AugmentConfig",
    "HubClassifier": "sharing.hub:HubClassifier",
    "ImageDataset": "data.dataset:ImageDataset",
    "TrainConfig": "training.config:TrainConfig",
    "build_model": "models:build_model",
    "card": "sharing.card:model_card",
    "compare": "measuring.comparison:compare",
    "evaluate": "measuring.evaluation:evaluate",
    "explain": "explaining.explanation:explain",
    "export": "exporting.export:export",
    "list_models": "models:list_models",
    "load_model": "storage.find:load_model",
    "load_pretrained": "storage.find:load_pretrained",
    "predict": "measuring.prediction:predict",
    "report": "reporting.report:write_report",
    "summarize": "measuring.summary:summarize",
    "train": "training.train:train",
}
"""Where each public name is defined: ``module:name``, below this package.

``HubClassifier`` is not in ``__all__``: it needs an extra, and ``from thimble import *`` must not.
"""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f".{module}", __name__), attribute)


def __dir__() -> list[str]:
    # What lists the names also looks at them, as help() does: one that cannot be imported here is no name to list.
    return sorted({*__all__, *(["HubClassifier"] if importlib.util.find_spec("huggingface_hub") else [])})
