"""Weights and training states on disk, written whole or not at all, and read without ever unpickling anything.

Both are safetensors files. A weights file carries, as JSON under the metadata key ``thimble``, all that it takes to
build the network again and to use it; a training state carries its progress in the same way.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import safetensors.torch
import torch
from torch import Tensor, nn

from .arguments import described, expanded
from .config import UserError
from .models import MODELS, Classifier, as_classifier
from .runtime import versions
from .storage.description import describe_model
from .storage.tensor_file import MOST_BYTES, Layout, TensorFile, open_tensors, save_tensors
from .system.files import MEBIBYTE, open_file

Model: TypeAlias = nn.Module | str | os.PathLike[str]
"""What MODEL may be: a shipped model's name, weights file, run folder; or a classifier, compiled or wrapped too."""

WEIGHTS_FILE = "model.safetensors"
STATE_FOLDER = "last.ckpt"
STATE_FILE = "state.safetensors"
LICENCE = "MIT"
"""Of the shipped weights, by its SPDX identifier."""


def list_pretrained() -> list[str]:
    """The names of the trained models that the package ships, sorted."""
    return sorted(
        Path(entry.name).stem
        for entry in (resources.files("thimble") / "weights").iterdir()
        if entry.name.endswith(".safetensors")
    )


def load_pretrained(name: str = "reference") -> Classifier:
    """Load a trained model that the package ships, in eval mode.

    Raises:
        UserError: no trained model of that name is shipped.
    """
    if not isinstance(name, str) or name not in list_pretrained():
        raise UserError(f"no shipped model {described(name)}: expected {_shipped()}")
    return load_described(name)[0]


def load_model(model: Model) -> Classifier:
    """Load MODEL, in eval mode: a shipped model's name, a weights file or a run folder.

    A shipped name wins over a file of the same name; ``./reference`` names the file. What is a classifier already, or
    one that was compiled or wrapped for several devices, is returned as it is, without its wrapper.

    Raises:
        UserError: it is none of these, or its file is no complete Thimble weights file.
    """
    found = as_classifier(model)
    return load_described(model)[0] if found is None else found


def load_described(model: Model) -> tuple[Classifier, dict[str, Any], str]:
    """The same, with the metadata that it was saved with and the SHA-256 of its file, in hexadecimal digits.

    The shipped models' licence is part of it; whose weights of the user's own are, the user knows. Of a classifier
    that is no file, the SHA-256 is that of its tensors as a safetensors file without metadata.
    """
    found = as_classifier(model)
    if found is not None:
        return found, dict(getattr(found, "metadata", {})), hashlib.sha256(as_bytes(found)).hexdigest()
    if isinstance(model, str) and model in list_pretrained():
        with resources.as_file(resources.files("thimble") / "weights" / f"{model}.safetensors") as path:
            classifier, metadata = load_weights(path)
            return classifier, {"licence": LICENCE, **metadata}, _sha256(path)
    path = _place(model)
    if os.path.isdir(path):  # unlike Path.is_dir, false for a name that no file can have
        path = path / WEIGHTS_FILE
        if not os.path.lexists(path):
            resume = f"; thimble train --resume {model} finishes it" if (path.parent / STATE_FOLDER).is_dir() else ""
            raise UserError(f"{model} holds no {WEIGHTS_FILE}: expected the folder of a finished run{resume}")
    if not os.path.lexists(path):
        raise UserError(f"no model '{model}': expected a weights file, a run folder or {_shipped()}")
    return (*load_weights(path), _sha256(path))


def run_folder_of(model: Model) -> Path | None:
    """The run folder that MODEL names, whole or not; None where it is a shipped model, a file or a classifier."""
    if as_classifier(model) is not None or (isinstance(model, str) and model in list_pretrained()):
        return None
    path = _place(model)
    return path if os.path.isdir(path) else None


def name_of(model: Model) -> str:
    """What a person calls MODEL: the name or path that was given, or the network's name."""
    found = as_classifier(model)
    return str(model) if found is None else found.name


def as_bytes(model: Classifier) -> bytes:
    """A model's tensors as a safetensors file without metadata."""
    return safetensors.torch.save({name: each.detach().cpu().contiguous() for name, each in model.state_dict().items()})


def _place(model: Model) -> Path:
    if not isinstance(model, str | os.PathLike):
        raise UserError(
            f"MODEL is {described(model)}: expected a weights file, a run folder, {_shipped()}, or a Classifier"
        )
    return expanded(model)


def save_weights(path: Path, model: Classifier, metadata: dict[str, Any], *, half: bool = False) -> None:
    """Write a model's weights with what is needed to build and use it, and anything else that JSON can hold.

    Args:
        path: the file, replaced if it exists.
        model: on any device.
        metadata: the run's own part: recipe, data and metrics.
        half: write the parameters in float16, for half the size; BatchNorm's statistics, which are few and may be
            tiny, stay as they are. ``load_weights`` gives float32 again.

    Raises:
        RunError: the file could not be written; what was there before is untouched.
    """
    described = {
        "model": model.name,
        "arguments": model.arguments,
        "classes": model.classes,
        "mean": model.mean,
        "std": model.std,
        "input_size": model.input_size,
        "num_parameters": model.num_parameters,
        "versions": versions(),
        **metadata,
    }
    tensors = model.state_dict()
    if half:
        tensors |= {name: parameter.half() for name, parameter in model.named_parameters()}
    save_tensors(path, tensors, described)


def load_weights(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """Read a weights file: the model, on the CPU and in eval mode, and the metadata that it was saved with.

    Raises:
        UserError: the file is not a whole Thimble weights file, or its tensors are not the model's.
    """
    with open_tensors(path) as file:
        name = file.metadata.get("model")
        if not isinstance(name, str) or name not in MODELS:
            raise UserError(f"{path} holds a model {str(name)[:50]!r}: expected one of {', '.join(sorted(MODELS))}")
        try:
            model = describe_model(file.metadata).build()
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} describes its model incompletely ({error}): expected what Thimble saves"
            ) from error
        model.load_state_dict(_read_weights(file, model.state_dict()))
        return model.eval(), file.metadata


def save_state(run: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Replace a run's training state, atomically: a reader finds the old one or the new one, never a part.

    Raises:
        RunError: it could not be written; the old state is untouched.
    """
    save_tensors(run / STATE_FOLDER / STATE_FILE, tensors, progress)


def load_state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_state`` wrote.

    Raises:
        UserError: the folder holds no whole training state.
    """
    with open_state(run) as file:
        return {name: file.read(name) for name in file.layouts}, file.metadata


@contextlib.contextmanager
def open_state(run: Path) -> Iterator[TensorFile]:
    """Open what ``save_state`` wrote, to see what it holds before any of it is read.

    Raises:
        UserError: the folder holds no whole training state.
    """
    path = run / STATE_FOLDER / STATE_FILE
    if not os.path.lexists(path):
        raise UserError(f"{run} holds no {STATE_FOLDER}/{STATE_FILE}: expected the folder of a run that has begun")
    with open_tensors(path) as file:
        yield file


def _read_weights(file: TensorFile, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's tensors. The first that is missing, extra or of another shape or type is named, before any is read.

    Parameters of another precision are welcome: half, which takes half the room, and those of models that were.
    """
    for name, tensor in expected.items():
        if name not in file.layouts:
            raise UserError(f"{file.path} lacks the tensor {name}: expected all {len(expected)} of the model")
        one, other = file.layouts[name], Layout.of(tensor)
        kind = other.dtype.is_floating_point
        if one.shape != other.shape or one.dtype.is_floating_point != kind or not (kind or one.dtype is other.dtype):
            raise UserError(f"{file.path}: tensor {name} is {one}, expected {other}")
    extra = sorted(set(file.layouts) - set(expected))
    if extra:
        raise UserError(f"{file.path} holds {len(extra)} tensors that the model has not, {extra[0]} among them")
    tensors = {name: file.read(name) for name in expected}
    for name, tensor in tensors.items():
        if tensor.dtype.is_floating_point and not torch.isfinite(tensor).all():
            raise UserError(f"{file.path}: tensor {name} holds values that are not finite; expected trained weights")
    return tensors


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path, MOST_BYTES) as file:
        while block := file.read(MEBIBYTE):
            digest.update(block)
    return digest.hexdigest()


def _shipped() -> str:
    names = list_pretrained()
    return f"a shipped model ({', '.join(names)})" if names else "a shipped model (there are none yet)"
