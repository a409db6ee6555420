"""From a model and images to logits, and from logits to answers: an ``Evaluation`` or ``Prediction``s."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from . import metrics
from .arguments import described, expanded, take
from .checkpoint import Model, load_model, name_of
from .config import RunError, UserError
from .data import ImageDataset, load_dataset, normalize, read_image, to_input
from .models import frozen


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a dataset.

    Attributes:
        model: name of the model, or where it was loaded from.
        data: name of the dataset.
        num_images: images evaluated.
        flip: whether the logits of each image and its mirror image were averaged.
        accuracy: top-1, in 0..1.
        accuracy_interval: Wilson's 95% interval of the accuracy: the chance of the draw of test images alone.
        per_class_accuracy: by class name, in 0..1; nan for a class without images.
        confusion: counts, rows true, columns predicted, in the order of the classes.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error over 15 bins, in 0..1.
    """

    model: str
    data: str
    num_images: int
    flip: bool
    accuracy: float
    accuracy_interval: tuple[float, float]
    per_class_accuracy: dict[str, float]
    confusion: list[list[int]]
    nll: float
    ece: float

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON can hold it: a list for the interval, and None for nan."""
        per_class = {name: None if math.isnan(value) else value for name, value in self.per_class_accuracy.items()}
        return {**vars(self), "accuracy_interval": list(self.accuracy_interval), "per_class_accuracy": per_class}


@dataclass(frozen=True)
class Prediction:
    """What a model takes an image for.

    Attributes:
        image: the path of the image, or ``"image 0"`` and so on for images that came without one.
        top: (class name, softmax probability in 0..1), the most probable first.
    """

    image: str
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON can hold it."""
        return {"image": self.image, "top": [{"class": name, "probability": value} for name, value in self.top]}


def infer(
    model: nn.Module,
    images: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int = 500,
    flip: bool = False,
) -> Tensor:
    """Compute the logits of images, in eval mode, on the device of the model's parameters.

    Several threads may ask one model at once, also while it trains: each asks a double of it in eval mode.

    Args:
        model: takes normalised float images (N, 3, height, width); left in the mode it was in.
        images: uint8 (N, 3, height, width), N at least 1, on any device.
        mean: per channel, for pixels in 0..1.
        std: per channel, for pixels in 0..1.
        batch_size: images at a time; it bounds the memory and does not change the result.
        flip: average the logits of each image and its mirror image. Logits, not probabilities: what is returned
            stays logits, and the two halves count alike however sure they are.

    Returns:
        float32 (N, num_classes) on the CPU, all finite.

    Raises:
        ValueError: the images are of another type or shape, or there are none.
        RunError: a logit is nan or infinite.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images {images.dtype} {tuple(images.shape)}: expected uint8 (N, 3, height, width), N >= 1")
    parameter = next(model.parameters(), torch.empty(0))
    batches: list[Tensor] = []
    asked = frozen(model) if any(module.training for module in model.modules()) else model
    with torch.inference_mode():
        for batch in torch.split(images, batch_size):
            # Channels-last is the layout in which convolutions are fast; normalize keeps it.
            batch = batch.to(parameter.device, memory_format=torch.channels_last)
            inputs = normalize(batch, mean, std).to(parameter.dtype)
            logits = asked(inputs).float()
            if flip:
                logits = (logits + asked(inputs.flip(3)).float()) / 2
            batches.append(logits.cpu())
    result = torch.cat(batches)
    num_bad = len(result) - int(result.isfinite().all(1).sum())
    if num_bad:
        name = getattr(model, "name", type(model).__name__)
        raise RunError(f"model {name} gives nan or infinite logits for {num_bad} of {len(result)} images")
    return result


def evaluate(model: Model, dataset: ImageDataset | None = None, *, flip: bool = False) -> Evaluation:
    """Measure how well a model does on a dataset.

    The images are normalised as the model was trained, with its own mean and std.

    Args:
        model: a network, or a shipped model's name, a weights file or a run folder.
        dataset: images of the model's classes and input size. Default: the test set of CIFAR-10.
        flip: average the logits of each image and its mirror image.

    Raises:
        UserError: there is no such model or dataset, or the two do not fit each other.
        RunError: the model gives nan or infinite logits.
    """
    dataset = take("dataset", dataset, ImageDataset | None, "an ImageDataset")
    flip = take("flip", flip, bool, "true or false")
    classifier, name = load_model(model), name_of(model)
    if dataset is None:
        dataset = load_dataset("cifar10", "test")
    check_fit(name, classifier, dataset)
    logits = infer(classifier, dataset.images, mean=classifier.mean, std=classifier.std, flip=flip)
    return reduce(logits, classifier, dataset, name=name, flip=flip)


class Labeller(Protocol):
    """What names classes of images: a network, or a file that one was exported to."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the logits."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""


def reduce(logits: Tensor, model: Labeller, dataset: ImageDataset, *, name: str, flip: bool) -> Evaluation:
    """What a model's logits, (N, num_classes), for the images of a dataset say of it; ``name`` is its name here."""
    labels = dataset.labels.cpu()
    confusion = metrics.confusion_matrix(logits, labels)
    per_class = metrics.per_class_accuracy(logits, labels).tolist()
    return Evaluation(
        model=name,
        data=dataset.name,
        num_images=len(dataset),
        flip=flip,
        accuracy=metrics.accuracy(logits, labels),
        accuracy_interval=metrics.wilson_interval(int(confusion.trace()), len(dataset)),
        per_class_accuracy=dict(zip(model.classes, per_class, strict=True)),
        confusion=confusion.tolist(),
        nll=metrics.negative_log_likelihood(logits, labels),
        ece=metrics.expected_calibration_error(logits, labels),
    )


def predict(
    images: str | Path | Image.Image | Tensor | Sequence[str | Path | Image.Image],
    model: Model = "reference",
    *,
    top: int = 5,
) -> list[Prediction]:
    """Say what images show.

    One image that cannot be read fails the call. To answer for the others, load the model once and call once per
    image: ``model = thimble.load_model("reference")``, then ``predict(path, model)``.

    Args:
        images: a file, a PIL image or several of these; or a tensor uint8 (3, height, width) or
            (N, 3, height, width). Of any size: they are brought to the model's input size.
        model: a network, or a shipped model's name, a weights file or a run folder.
        top: how many classes to name, at least 1; all, if there are fewer.

    Returns:
        One prediction for each image, in their order.

    Raises:
        UserError: there is no such model, or something is not an image.
        RunError: the model gives nan or infinite logits.
    """
    top = take("top", top, int, "a number of classes of at least 1")
    if top < 1:
        raise UserError(f"top {top}: expected a number of classes of at least 1")
    classifier = load_model(model)
    size = classifier.input_size[1:]
    named = [(name, to_input(image, size)) for name, image in named_images(images, size)]
    if not named:
        return []
    inputs = torch.stack([pixels for _, pixels in named])
    logits = infer(classifier, inputs, mean=classifier.mean, std=classifier.std)
    values, indices = logits.double().softmax(1).topk(min(top, logits.shape[1]))
    return [
        Prediction(name, tuple((classifier.classes[index], value) for index, value in zip(row, best, strict=True)))
        for (name, _), row, best in zip(named, indices.tolist(), values.tolist(), strict=True)
    ]


def check_fit(name: str, model: Labeller, dataset: ImageDataset) -> None:
    """Raise UserError unless the dataset has images, of the model's classes and input size."""
    if len(dataset) == 0:
        raise UserError(f"{dataset.name} has no images: expected at least one")
    pairs = itertools.zip_longest(model.classes, dataset.classes)
    for index, (found, expected) in enumerate(pairs):
        if found != expected:
            raise UserError(
                f"model {name} has {len(model.classes)} classes and {dataset.name} has {len(dataset.classes)}; class "
                f"{index} is {found!r}, expected {expected!r}: choose a model that was trained on {dataset.name}"
            )
    if tuple(dataset.images.shape[1:]) != model.input_size:
        raise UserError(
            f"{dataset.name} has images of {tuple(dataset.images.shape[1:])}: "
            f"model {name} expected (channels, height, width) = {model.input_size}"
        )


def named_images(
    images: str | Path | Image.Image | Tensor | Sequence[str | Path | Image.Image], size: tuple[int, int]
) -> Iterator[tuple[str, Image.Image]]:
    """Each image with a name for it, one after the other; files are read for a network of that (height, width)."""
    if isinstance(images, Tensor):
        shape = tuple(images.shape)
        if images.dtype != torch.uint8 or len(shape) not in (3, 4) or shape[-3] != 3 or 0 in shape[-2:]:
            raise UserError(f"images {images.dtype} {shape}: expected uint8 ([N,] 3, height, width)")
        arrays = images.reshape(-1, *shape[-3:]).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        for index, array in enumerate(arrays):
            yield f"image {index}", Image.fromarray(array)
        return
    if isinstance(images, str | os.PathLike | Image.Image):
        images = [images]
    if not isinstance(images, Iterable):
        raise UserError(f"images are {described(images)}: expected a path, a PIL image, several of these, or a tensor")
    for index, image in enumerate(images):
        yield _named_image(index, image, size)


def _named_image(index: int, image: str | Path | Image.Image, size: tuple[int, int]) -> tuple[str, Image.Image]:
    if isinstance(image, str | os.PathLike):
        return str(image), read_image(expanded(image), size)
    if isinstance(image, Image.Image):
        # An image that PIL opened from a file knows which.
        name = str(getattr(image, "filename", "") or f"image {index}")
        try:
            image.load()
        except (OSError, ValueError, SyntaxError) as error:  # PIL reads the pixels only now, and may find none
            raise UserError(f"{name} is damaged or closed ({error}): expected an image with all its pixels") from error
        if min(image.size) < 1:
            raise UserError(f"{name} is {image.width}x{image.height} pixels: expected at least 1x1")
        return name, image
    raise UserError(f"image {index} is of type {type(image).__name__}: expected a path or a PIL image")
