"""Check a weights file's description of its model before the model is built: the file is untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from thimble.models import MODELS, build_model
from thimble.models.classifier import Classifier
from thimble.system.arguments import is_number, is_whole

MOST_CLASSES = 10_000
LONGEST_CLASS_NAME = 1_000
LARGEST_SIDE = 1024
"""The longest side of a network's input, in pixels."""
FITS = ("crop", "pad", "squash")
_DEEPEST, _SHALLOWEST = 1e12, 1e-30
"""The largest value of a depth range, and its smallest width: 255 divided by it is finite."""
_LARGEST_CONSTANT = 1e4
"""The largest mean and std, for pixels in 0..1. A std has to be at least the inverse, so that pixels stay finite."""


@dataclass(frozen=True)
class Description:
    """What is needed to build and use a network; the fields are those of ``Classifier``."""

    name: str
    arguments: dict[str, Any]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int]
    fit: str = "crop"
    depth: tuple[float, float] | None = None

    def build(self) -> Classifier:
        """Build the network, with new weights."""
        channels, height, width = self.input_size
        model = build_model(self.name, **self.arguments, in_channels=channels, input_size=(height, width))
        model.classes, model.mean, model.std = self.classes, self.mean, self.std
        model.fit, model.depth = self.fit, self.depth
        return model


def describe_model(metadata: Mapping[str, Any]) -> Description:
    """Read the description in a weights file's metadata. The limits bound the network's memory too.

    Raises:
        KeyError: a field is missing.
        TypeError, ValueError: a field has another type, or is out of its range.
    """
    name = metadata.get("model")
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"a model {name!r}"[:100] + f": expected one of {', '.join(sorted(MODELS))}")
    classes = check_classes(metadata["classes"])
    arguments = _check_arguments(metadata["arguments"])
    if arguments.get("num_classes") != len(classes):
        raise ValueError(f"{len(classes)} classes for {arguments.get('num_classes')} logits")
    input_size = check_input_size(metadata["input_size"])
    return Description(
        name=name,
        arguments=arguments,
        classes=classes,
        mean=check_constants("mean", metadata["mean"], input_size[0]),
        std=check_constants("std", metadata["std"], input_size[0]),
        input_size=input_size,
        fit=check_fit(metadata.get("fit", "crop")),
        depth=check_depth(metadata.get("depth")),
    )


def check_classes(values: Any) -> tuple[str, ...]:
    """Check class names from JSON: a list of 1 to ``MOST_CLASSES`` strings.

    Raises:
        TypeError, ValueError: they are not such a list, or a name is too long.
    """
    if not isinstance(values, list) or not all(isinstance(label, str) for label in values):
        raise TypeError("classes are not a list of names")
    if not 1 <= len(values) <= MOST_CLASSES:
        raise ValueError(f"{len(values):,} classes, expected 1 to {MOST_CLASSES:,}")
    for label in values:
        if len(label) > LONGEST_CLASS_NAME:
            raise ValueError(f"a class name of {len(label):,} characters, expected at most {LONGEST_CLASS_NAME:,}")
    return tuple(values)


def check_constants(name: Literal["mean", "std"], values: Any, channels: int = 3) -> tuple[float, ...]:
    """Check mean or std, for pixels in 0..1: numbers that keep normalised pixels finite in float32; std above 0.

    Raises:
        TypeError, ValueError: they are not such numbers, one for each channel.
    """
    least = 1 / _LARGEST_CONSTANT if name == "std" else -_LARGEST_CONSTANT
    if not isinstance(values, list) or not all(is_number(value) for value in values):
        raise TypeError(f"{name} {_short(values)} is not a list of numbers")
    if len(values) != channels or not all(least <= value <= _LARGEST_CONSTANT for value in values):
        raise ValueError(
            f"{name} {_short(values)}, expected {channels} numbers from {least:g} to {_LARGEST_CONSTANT:g}"
        )
    return tuple(map(float, values))


def check_fit(value: Any) -> str:
    """Check how images are fitted: crop, pad or squash.

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(value, str) or value not in FITS:
        raise ValueError(f"fit {_short(value)}, expected {', '.join(FITS)}")
    return value


def check_depth(values: Any) -> tuple[float, float] | None:
    """Check the range of deep grey images: two finite numbers, the first smaller; or None.

    Raises:
        TypeError, ValueError: it is no such range.
    """
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != 2 or not all(is_number(value) for value in values):
        raise TypeError(f"depth {_short(values)} is not a list of two numbers")
    black, white = map(float, values)
    if not -_DEEPEST <= black < white <= _DEEPEST or white - black < _SHALLOWEST:
        raise ValueError(f"depth {_short(values)}, expected two numbers, the smaller first, up to {_DEEPEST:g}")
    return black, white


def check_input_size(values: Any) -> tuple[int, int, int]:
    """Check an input size (channels, height, width): 3 or 1 channels, and sides of 1 to ``LARGEST_SIDE`` pixels.

    Raises:
        TypeError, ValueError: it is not such a size.
    """
    if not isinstance(values, list) or not all(is_whole(value) for value in values):
        raise TypeError(f"input_size {_short(values)} is not a list of whole numbers")
    if len(values) != 3 or values[0] not in (1, 3) or not all(1 <= value <= LARGEST_SIDE for value in values[1:]):
        raise ValueError(f"input_size {_short(values)}, expected 3 channels or 1, and sides from 1 to {LARGEST_SIDE}")
    channels, height, width = values
    return channels, height, width


def _check_arguments(values: Any) -> dict[str, Any]:
    """Check the architecture's arguments; the input size is not among them, as it has a key of its own."""
    if not isinstance(values, dict) or not values.keys() <= {"num_classes", "dropout"}:
        raise TypeError(f"arguments {_short(values)}, expected num_classes and dropout")
    num_classes, dropout = values.get("num_classes", 0), values.get("dropout", 0.0)
    if not is_whole(num_classes) or not 1 <= num_classes <= MOST_CLASSES:
        raise ValueError(f"num_classes {_short(num_classes)}, expected 1 to {MOST_CLASSES:,}")
    if not is_number(dropout) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout {_short(dropout)}, expected 0 to 1")
    return dict(values)


def _short(value: Any) -> str:
    return repr(value)[:50]
