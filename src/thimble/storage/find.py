"""Find and load the model that MODEL names: a shipped model, a weights file, a run folder, or a classifier."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from thimble.errors import UserError
from thimble.models.classifier import Classifier, as_classifier
from thimble.system.arguments import described, expanded

from .run_folder import has_state
from .shipped import LICENCE, list_pretrained, shipped_names, shipped_weights
from .state import STATE_FOLDER
from .weights import WEIGHTS_FILE, as_bytes, load_weights, sha256_of

Model: TypeAlias = nn.Module | str | os.PathLike[str]
"""A shipped model's name, a weights file, a run folder, or a classifier, which may be compiled or wrapped."""


def load_pretrained(name: str = "reference") -> Classifier:
    """Load a trained model that the package ships, in eval mode.

    Raises:
        UserError: no trained model of that name is shipped.
    """
    if not isinstance(name, str) or name not in list_pretrained():
        raise UserError(f"no shipped model {described(name)}: expected {shipped_names()}")
    return load_described(name)[0]


def load_model(model: Model) -> Classifier:
    """Load MODEL, in eval mode: a shipped model's name, a weights file or a run folder.

    A shipped model's name wins over a file of the same name; ``./reference`` names the file. A classifier is returned
    unchanged, but without its wrapper if it was compiled or wrapped for several devices.

    Raises:
        UserError: MODEL is none of these, or its file is not a complete Thimble weights file.
    """
    found = as_classifier(model)
    return load_described(model)[0] if found is None else found


def load_described(model: Model) -> tuple[Classifier, dict[str, Any], str]:
    """Load MODEL with its file's metadata and SHA-256, in hexadecimal digits: see ``load_model``.

    For a shipped model, the metadata includes its licence. For a classifier in memory, the SHA-256 is computed over its
    tensors as a safetensors file without metadata.
    """
    found = as_classifier(model)
    if found is not None:
        return found, dict(getattr(found, "metadata", {})), hashlib.sha256(as_bytes(found)).hexdigest()
    if isinstance(model, str) and model in list_pretrained():
        with shipped_weights(model) as path:
            classifier, metadata = load_weights(path)
            return classifier, {"licence": LICENCE, **metadata}, sha256_of(path)
    path = _place(model)
    if os.path.isdir(path):  # False for an impossible name, for which Path.is_dir may raise
        path = path / WEIGHTS_FILE
        if not os.path.lexists(path):
            resume = f"; thimble train --resume {model} finishes it" if (path.parent / STATE_FOLDER).is_dir() else ""
            raise UserError(f"{model} holds no {WEIGHTS_FILE}: expected the folder of a finished run{resume}")
    if not os.path.lexists(path):
        raise UserError(f"no model '{model}': expected a weights file, a run folder or {shipped_names()}")
    try:
        return (*load_weights(path), sha256_of(path))
    except UserError as error:
        if path.name != WEIGHTS_FILE or not has_state(path.parent):
            raise
        raise UserError(f"{error}; thimble train --resume {path.parent} writes it anew from the run's state") from error


def run_folder_of(model: Model) -> Path | None:
    """The run folder that MODEL names, finished or not; None if MODEL is a shipped model, a file or a classifier."""
    if as_classifier(model) is not None or (isinstance(model, str) and model in list_pretrained()):
        return None
    path = _place(model)
    return path if os.path.isdir(path) else None


def name_of(model: Model) -> str:
    """The name or path that was given as MODEL; for a classifier, the network's name."""
    found = as_classifier(model)
    return str(model) if found is None else found.name


def _place(model: Model) -> Path:
    if not isinstance(model, str | os.PathLike):
        raise UserError(
            f"MODEL is {described(model)}: expected a weights file, a run folder, {shipped_names()}, or a Classifier"
        )
    return expanded(model)
