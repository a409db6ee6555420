"""Weights and training states on disk, written whole or not at all, and read without ever unpickling anything.

Both are safetensors files. A weights file carries, as JSON under the metadata key ``thimble``, all that it takes to
build the network again and to use it; a training state carries its progress in the same way.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from .arguments import described, expanded
from .config import UserError
from .models import MODELS, Classifier, as_classifier, build_model
from .runtime import versions
from .system.files import write_atomically

Model: TypeAlias = nn.Module | str | os.PathLike[str]
"""What MODEL may be: a shipped model's name, weights file, run folder; or a classifier, compiled or wrapped too."""

WEIGHTS_FILE = "model.safetensors"
STATE_FOLDER = "last.ckpt"
STATE_FILE = "state.safetensors"
LICENCE = "MIT"
"""Of the shipped weights, by its SPDX identifier."""
_METADATA_KEY = "thimble"


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
            return classifier, {"licence": LICENCE, **metadata}, hashlib.sha256(path.read_bytes()).hexdigest()
    path = _place(model)
    if os.path.isdir(path):  # unlike Path.is_dir, false for a name that no file can have
        path = path / WEIGHTS_FILE
        if not path.is_file():
            resume = f"; thimble train --resume {model} finishes it" if (path.parent / STATE_FOLDER).is_dir() else ""
            raise UserError(f"{model} holds no {WEIGHTS_FILE}: expected the folder of a finished run{resume}")
    if not os.path.isfile(path):
        raise UserError(f"no model '{model}': expected a weights file, a run folder or {_shipped()}")
    return (*load_weights(path), hashlib.sha256(path.read_bytes()).hexdigest())


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
    _save(path, tensors, described)


def load_weights(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """Read a weights file: the model, on the CPU and in eval mode, and the metadata that it was saved with.

    Raises:
        UserError: the file is not a whole Thimble weights file, or its tensors are not the model's.
    """
    tensors, metadata = _load(path)
    name = metadata.get("model")
    if not isinstance(name, str) or name not in MODELS:
        raise UserError(f"{path} holds a model {name!r}: expected one of {', '.join(sorted(MODELS))}")
    try:
        model = _build(name, metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} describes its model incompletely ({error}): expected what Thimble saves") from error
    _check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model.eval(), metadata


def save_state(run: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Replace a run's training state, atomically: a reader finds the old one or the new one, never a part.

    Raises:
        RunError: it could not be written; the old state is untouched.
    """
    _save(run / STATE_FOLDER / STATE_FILE, tensors, progress)


def load_state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_state`` wrote.

    Raises:
        UserError: the folder holds no whole training state.
    """
    path = run / STATE_FOLDER / STATE_FILE
    if not path.is_file():
        raise UserError(f"{run} holds no {STATE_FOLDER}/{STATE_FILE}: expected the folder of a run that has begun")
    return _load(path)


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, safetensors.torch.save(plain, {"format": "pt", _METADATA_KEY: json.dumps(metadata)}))


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get(_METADATA_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        if described is None:
            raise UserError(f"{path} is a safetensors file of another program: expected one that Thimble saved")
        metadata = json.loads(described)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is {_foreign(path)}: expected a whole safetensors file ({error})") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}; expected a weights file that Thimble saved") from error
    if not isinstance(metadata, dict):
        raise UserError(f"{path} describes nothing: expected a weights file that Thimble saved")
    return tensors, metadata


def _build(name: str, metadata: dict[str, Any]) -> Classifier:
    """The network, with new weights, and what it carries: only what can be used, as a file may hold anything."""
    arguments, classes = metadata["arguments"], tuple(str(label) for label in metadata["classes"])
    if not classes or arguments["num_classes"] != len(classes):  # before a wrong number costs any memory
        raise ValueError(f"{len(classes)} classes for {arguments['num_classes']} logits")
    model = build_model(name, **arguments)
    model.classes = classes
    red, green, blue = (float(value) for value in metadata["mean"])
    model.mean = (red, green, blue)
    red, green, blue = (float(value) for value in metadata["std"])
    model.std = (red, green, blue)
    channels, height, width = (int(value) for value in metadata["input_size"])
    model.input_size = (channels, height, width)
    if not all(math.isfinite(value) for value in model.mean) or not all(0 < value < math.inf for value in model.std):
        raise ValueError(f"mean {model.mean} and std {model.std}")
    if channels != 3 or height < 1 or width < 1:
        raise ValueError(f"input size {model.input_size}")
    return model


def _foreign(path: Path) -> str:
    """What a file that is no safetensors file most likely is."""
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        return "empty"
    if path.suffix in (".onnx", ".pt2", ".pte", ".c"):
        return "no weights file, but perhaps what thimble export made of one"
    if head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "a pickled PyTorch file, which could run any code and is never loaded"
    return "cut short or damaged" if head.endswith(b"{") else "no weights file"


def _check_tensors(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Name the first tensor that is missing, extra or of another shape or type."""
    for name, tensor in expected.items():
        if name not in found:
            raise UserError(f"{path} lacks the tensor {name}: expected all {len(expected)} of the model")
        one, other = found[name], tensor
        if one.shape != other.shape or one.dtype.is_floating_point != other.dtype.is_floating_point:
            raise UserError(
                f"{path}: tensor {name} is {one.dtype} {tuple(one.shape)}, expected {other.dtype} {tuple(other.shape)}"
            )
        if one.dtype.is_floating_point and not torch.isfinite(one).all():
            raise UserError(f"{path}: tensor {name} holds values that are not finite; expected trained weights")
    extra = sorted(set(found) - set(expected))
    if extra:
        raise UserError(f"{path} holds {len(extra)} tensors that the model has not, {extra[0]} among them")


def _shipped() -> str:
    names = list_pretrained()
    return f"a shipped model ({', '.join(names)})" if names else "a shipped model (there are none yet)"


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors with what describes them, anything that JSON can hold, atomically.

    Raises:
        RunError: the file could not be written; what was there before is untouched.
    """
    _save(path, tensors, metadata)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_tensors`` wrote.

    Raises:
        UserError: the file is not a whole one of Thimble's.
    """
    return _load(path)
