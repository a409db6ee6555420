"""Save and load weights files: a model's tensors, and what is needed to build it again, in safetensors."""

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
    """Serialize a model's tensors as a safetensors file without metadata."""
    return safetensors.torch.save({name: each.detach().cpu().contiguous() for name, each in model.state_dict().items()})


def save_weights(path: Path, model: Classifier, metadata: dict[str, Any], *, half: bool = False) -> None:
    """Write a model's weights, what is needed to build and use it, and more metadata, atomically.

    Args:
        path: the file, replaced if it exists.
        model: on any device.
        metadata: more values that JSON can hold, such as the run's recipe, data and metrics.
        half: write the parameters in float16, for half the size. BatchNorm statistics are few and may be tiny, so they
            stay in float32. ``load_weights`` returns float32 again.

    Raises:
        RunError: the file could not be written; an existing file is untouched.
    """
    described = {
        "model": model.name,
        "arguments": model.arguments,
        "classes": model.classes,
        "mean": model.mean,
        "std": model.std,
        "input_size": model.input_size,
        "fit": model.fit,
        "depth": model.depth,
        "num_parameters": model.num_parameters,
        "versions": versions(),
        **metadata,
    }
    tensors = model.state_dict()
    if half:
        tensors |= {name: parameter.half() for name, parameter in model.named_parameters()}
    save_tensors(path, tensors, described)


def load_weights(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """Read a weights file: the model, on the CPU and in eval mode, and the file's metadata.

    Raises:
        UserError: the file is not a complete Thimble weights file, or its tensors do not fit the model.
    """
    with open_tensors(path) as file:
        name = file.metadata.get("model")
        if not isinstance(name, str) or name not in MODELS:
            raise UserError(f"{path} holds a model {str(name)[:50]!r}: expected one of {', '.join(sorted(MODELS))}")
        try:
            model = describe_model(file.metadata).build()
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} does not describe its model correctly ({error}): expected a file that Thimble saved"
            ) from error
        model.load_state_dict(_read_weights(file, model.state_dict()))
        data = file.metadata.get("data")
        model.data = data if isinstance(data, dict) else {}
        return model.eval(), file.metadata


def _read_weights(file: TensorFile, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the model's tensors; first refuse any that is missing, extra, or has another shape or type.

    Floating-point tensors may have another precision, such as float16, which takes half the space.
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
        raise UserError(f"{file.path} holds {len(extra)} tensors that the model lacks, such as {extra[0]}")
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
