"""Weights files: a model's tensors and all it takes to build it again, in safetensors, whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from thimble.errors import UserError
from thimble.models import MODELS
from thimble.models.classifier import Classifier
from thimble.system.files import MEBIBYTE, open_file
from thimble.system.machine import versions

from .description import describe_model
from .tensor_file import MOST_BYTES, Layout, TensorFile, open_tensors, save_tensors

WEIGHTS_FILE = "model.safetensors"


def as_bytes(model: Classifier) -> bytes:
    """A model's tensors as a safetensors file without metadata."""
    return safetensors.torch.save({name: each.detach().cpu().contiguous() for name, each in model.state_dict().items()})


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
        data = file.metadata.get("data")
        model.data = data if isinstance(data, dict) else {}
        return model.eval(), file.metadata


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


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path, MOST_BYTES) as file:
        while block := file.read(MEBIBYTE):
            digest.update(block)
    return digest.hexdigest()
