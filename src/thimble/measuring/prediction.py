"""Predict the classes of single images."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from thimble.data.image_files import read_image
from thimble.data.image_paths import images_in
from thimble.data.pixels import Fitting, to_input, to_picture
from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.storage.find import Model, load_model
from thimble.system.arguments import described, expanded, take

from .inference import infer

Images: TypeAlias = str | Path | Image.Image | Tensor | Sequence[str | Path | Image.Image]

_BATCH = 64
"""Images that are in memory at once, at the network's size."""


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
    images: Images,
    model: Model = "reference",
    *,
    top: int = 5,
) -> list[Prediction]:
    """Predict the classes of images.

    If one image cannot be read, the whole call fails; ``predict_files`` goes on with the others.

    Args:
        images: a file, a PIL image or several of these; or a uint8 tensor ([N,] channels, height, width) of 3 or 1
            channels, 0..255. A folder stands for all its images, see ``thimble.data.image_paths.images_in``. Images of
            any size are fitted to the model's input, as its training images were.
        model: a network, or a shipped model's name, a weights file or a run folder.
        top: how many classes to return, at least 1; all classes, if there are fewer.

    Returns:
        one prediction for each image, in the given order; those of a folder in natural order of their paths.

    Raises:
        UserError: there is no such model, or an image cannot be read.
        RunError: the model gives nan or infinite logits.
    """
    top = _checked(top)
    classifier = load_model(model)
    fitting = Fitting.of(classifier)
    named = ((name, to_input(image, fitting)) for name, image in named_images(_expanded(images), fitting))
    return list(_predictions(named, classifier, top))


def predict_files(
    paths: Iterable[Path], model: Model = "reference", *, top: int = 5, failed: Callable[[UserError], None]
) -> Iterator[Prediction]:
    """Predict the classes of image files, in bounded memory however many they are.

    Args:
        paths: image files.
        model, top: see ``predict``.
        failed: called for each image that cannot be read; the others go on.

    Yields:
        one prediction for each image that can be read, in the given order.

    Raises:
        UserError: there is no such model, or ``top`` is too small.
        RunError: the model gives nan or infinite logits.
    """
    top = _checked(top)
    classifier = load_model(model)
    fitting = Fitting.of(classifier)

    def readable() -> Iterator[tuple[str, Tensor]]:
        for path in paths:
            try:
                pixels = to_input(read_image(path, fitting), fitting)
            except UserError as error:
                failed(error)
            else:
                yield str(path), pixels

    yield from _predictions(readable(), classifier, top)


def to_csv(predictions: Iterable[Prediction]) -> str:
    """Write predictions as CSV: image, class and probability, then class_2, probability_2 and so on.

    Names stand in it as they are: a spreadsheet may take one that begins with "=" for a formula.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for number, prediction in enumerate(predictions):
        if number == 0:
            ranks = ("", *(f"_{rank}" for rank in range(2, len(prediction.top) + 1)))
            writer.writerow(["image", *(f"{column}{rank}" for rank in ranks for column in ("class", "probability"))])
        cells = (cell for name, probability in prediction.top for cell in (name, f"{probability:.6f}"))
        writer.writerow([prediction.image, *cells])
    return written.getvalue()


def _checked(top: int) -> int:
    top = take("top", top, int, "a number of classes of at least 1")
    if top < 1:
        raise UserError(f"top {top}: expected a number of classes of at least 1")
    return top


def _expanded(images: Images) -> Images:
    """Put the images of folders in the folders' places."""
    if isinstance(images, str | os.PathLike):
        images = [images]
    if not isinstance(images, list | tuple):
        return images
    found: list[str | Path | Image.Image] = []
    for image in images:
        path = expanded(image) if isinstance(image, str | os.PathLike) else None
        found += images_in(path) if path is not None and os.path.isdir(path) else [image]
    return found


def _predictions(named: Iterable[tuple[str, Tensor]], classifier: Classifier, top: int) -> Iterator[Prediction]:
    """Predict the classes of named pixels, a batch at a time."""
    images = iter(named)
    while batch := list(itertools.islice(images, _BATCH)):
        inputs = torch.stack([pixels for _, pixels in batch])
        logits = infer(classifier, inputs, mean=classifier.mean, std=classifier.std)
        values, indices = logits.double().softmax(1).topk(min(top, logits.shape[1]))
        for (name, _), row, best in zip(batch, indices.tolist(), values.tolist(), strict=True):
            pairs = zip(row, best, strict=True)
            yield Prediction(name, tuple((classifier.classes[index], value) for index, value in pairs))


def named_images(images: Images, fitting: Fitting) -> Iterator[tuple[str, Image.Image]]:
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
