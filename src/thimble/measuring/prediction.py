"""Predict the classes of single images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from thimble.data.image_files import read_image
from thimble.data.pixels import Fitting, to_input, to_picture
from thimble.errors import UserError
from thimble.storage.find import Model, load_model
from thimble.system.arguments import described, expanded, take

from .inference import infer


@dataclass(frozen=True)
class Prediction:
    """A model's most probable classes for an image.

    Attributes:
        image: the image's path, or ``"image 0"`` and so on for images without a path.
        top: (class name, softmax probability in 0..1), the most probable first.
    """

    image: str
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The prediction as values that JSON can hold."""
        return {"image": self.image, "top": [{"class": name, "probability": value} for name, value in self.top]}


def predict(
    images: str | Path | Image.Image | Tensor | Sequence[str | Path | Image.Image],
    model: Model = "reference",
    *,
    top: int = 5,
) -> list[Prediction]:
    """Predict the classes of images.

    If one image cannot be read, the whole call fails. To go on with the others, load the model once and call once per
    image: ``model = thimble.load_model("reference")``, then ``predict(path, model)``.

    Args:
        images: a file, a PIL image or several of these; or a uint8 tensor ([N,] channels, height, width) of 3 or 1
            channels, 0..255. Images of any size are fitted to the model's input, as its training images were.
        model: a network, or a shipped model's name, a weights file or a run folder.
        top: how many classes to return, at least 1; all classes, if there are fewer.

    Returns:
        one prediction for each image, in the given order.

    Raises:
        UserError: there is no such model, or an image cannot be read.
        RunError: the model gives nan or infinite logits.
    """
    top = take("top", top, int, "a number of classes of at least 1")
    if top < 1:
        raise UserError(f"top {top}: expected a number of classes of at least 1")
    classifier = load_model(model)
    fitting = Fitting.of(classifier)
    named = [(name, to_input(image, fitting)) for name, image in named_images(images, fitting)]
    if not named:
        return []
    inputs = torch.stack([pixels for _, pixels in named])
    logits = infer(classifier, inputs, mean=classifier.mean, std=classifier.std)
    values, indices = logits.double().softmax(1).topk(min(top, logits.shape[1]))
    return [
        Prediction(name, tuple((classifier.classes[index], value) for index, value in zip(row, best, strict=True)))
        for (name, _), row, best in zip(named, indices.tolist(), values.tolist(), strict=True)
    ]


def named_images(
    images: str | Path | Image.Image | Tensor | Sequence[str | Path | Image.Image], fitting: Fitting
) -> Iterator[tuple[str, Image.Image]]:
    """Yield each image with its name; files are read as far as a network with this fitting needs them."""
    if isinstance(images, Tensor):
        shape = tuple(images.shape)
        if images.dtype != torch.uint8 or len(shape) not in (3, 4) or shape[-3] not in (1, 3) or 0 in shape[-2:]:
            raise UserError(f"images {images.dtype} {shape}: expected uint8 ([N,] 3 or 1, height, width)")
        for index, image in enumerate(images.reshape(-1, *shape[-3:])):
            yield f"image {index}", to_picture(image)
        return
    if isinstance(images, str | os.PathLike | Image.Image):
        images = [images]
    if not isinstance(images, Iterable):
        raise UserError(f"images are {described(images)}: expected a path, a PIL image, several of these, or a tensor")
    for index, image in enumerate(images):
        yield _named_image(index, image, fitting)


def _named_image(index: int, image: str | Path | Image.Image, fitting: Fitting) -> tuple[str, Image.Image]:
    if isinstance(image, str | os.PathLike):
        return str(image), read_image(expanded(image), fitting)
    if isinstance(image, Image.Image):
        # An image that PIL opened from a file has its path.
        name = str(getattr(image, "filename", "") or f"image {index}")
        try:
            image.load()
        except (OSError, ValueError, SyntaxError) as error:  # PIL reads the pixels only now, which may fail
            raise UserError(f"{name} is damaged or closed ({error}): expected an image with all its pixels") from error
        if min(image.size) < 1:
            raise UserError(f"{name} is {image.width}x{image.height} pixels: expected at least 1x1")
        return name, image
    raise UserError(f"image {index} is of type {type(image).__name__}: expected a path or a PIL image")
