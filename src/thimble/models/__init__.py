"""Build networks by name. To add one: a file in this folder and a line in ``MODELS``; see ``Architecture``."""

from __future__ import annotations

from typing import Any

from .architecture import Architecture
from .classifier import Classifier, as_classifier
from .family import MODELS as FAMILY
from .frozen import frozen
from .reference import reference
from .sprint import sprint
from .teachers import MODELS as TEACHERS

__all__ = ["MODELS", "Architecture", "Classifier", "as_classifier", "build_model", "frozen", "list_models"]

MODELS: dict[str, Architecture] = {
    "reference": reference,
    "sprint": sprint,
    **FAMILY,
    **TEACHERS,
}


def list_models() -> list[str]:
    """The names that ``build_model`` takes, sorted."""
    return sorted(MODELS)


def build_model(name: str, **arguments: Any) -> Classifier:
    """Build an untrained network.

    Args:
        name: one of ``list_models()``.
        arguments: passed to the architecture: ``num_classes``, ``dropout``, ``in_channels``, ``input_size``.

    Raises:
        ValueError: there is no model of that name, or an argument's value does not suit it.
        TypeError: the architecture has no such argument.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"unknown model {name!r}: expected one of {', '.join(list_models())}")
    return MODELS[name](**arguments)
