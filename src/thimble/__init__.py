"""Image classifiers that fit in a thimble: train, measure and use networks of about 150,000 parameters.

Nothing heavy is imported here: the public names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .config import AugmentConfig, Interrupted, RunError, TrainConfig, UserError
from .system import telemetry
from .version import __version__

telemetry.switch_off()

if TYPE_CHECKING:
    from .checkpoint import load_model, load_pretrained
    from .comparison import compare
    from .evaluation import evaluate, predict
    from .explanation import explain
    from .exporting.export import export
    from .models import build_model, list_models
    from .summary import summarize
    from .training import train

__all__ = [
    "AugmentConfig",
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
    "build_model": "models",
    "compare": "comparison",
    "evaluate": "evaluation",
    "explain": "explanation",
    "export": "exporting.export",
    "list_models": "models",
    "load_model": "checkpoint",
    "load_pretrained": "checkpoint",
    "predict": "evaluation",
    "summarize": "summary",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
