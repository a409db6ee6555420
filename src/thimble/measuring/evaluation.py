"""Evaluate a model on a dataset."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.data.sources import source_for
from thimble.errors import UserError
from thimble.storage.find import Model, load_model, name_of
from thimble.system.arguments import take

from . import metrics, statistics
from .inference import infer

if TYPE_CHECKING:
    from thimble.data.sources import Data


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on a dataset.

    Attributes:
        model: the model's name, or the path that it was loaded from.
        data: the dataset's name.
        num_images: the number of images.
        flip: whether test-time augmentation was used: averaging the logits of each image and its mirror image.
        accuracy: top-1 accuracy, in 0..1.
        accuracy_interval: its 95% interval (Wilson), which covers only the chance in the choice of test images.
        per_class_accuracy: accuracy by class name, in 0..1; nan for a class without images.
        confusion: numbers of images; rows are true classes, columns predicted classes, in the order of the classes.
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
        """The evaluation as values that JSON can hold: the interval is a list, nan becomes None."""
        per_class = {name: None if math.isnan(value) else value for name, value in self.per_class_accuracy.items()}
        return {**vars(self), "accuracy_interval": list(self.accuracy_interval), "per_class_accuracy": per_class}


def evaluate(
    model: Model,
    data: Data | None = None,
    *,
    data_dir: str | Path | None = None,
    flip: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Evaluate a model on test images.

    The images are normalised with the model's own mean and std.

    Args:
        model: a network, or a shipped model's name, a weights file or a run folder.
        data: a dataset's name or path, whose test images are used, or an ``ImageDataset``; with the model's classes and
            input size. Default: the data that the model was trained on.
        data_dir: the folder that holds, or will hold, CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.
        flip: test-time augmentation: average the logits of each image and its mirror image.
        progress: show a progress bar on stderr while downloading.

    Raises:
        UserError: there is no such model or dataset, or the two do not fit each other.
        RunError: the model gives nan or infinite logits.
    """
    flip = take("flip", flip, bool, "true or false")
    folder = take("data_dir", data_dir, Path | None, "a path")
    classifier, name = load_model(model), name_of(model)  # first, so that a wrong name fails before a download
    dataset = source_for(data, classifier, name, folder).load("test", progress=progress)
    check_fit(name, classifier, dataset)
    logits = infer(classifier, dataset.images, mean=classifier.mean, std=classifier.std, flip=flip)
    return reduce(logits, classifier, dataset, name=name, flip=flip)


class Labeller(Protocol):
    """A classifier with its classes and input size: a network or an exported file."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the logits."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""


def reduce(logits: Tensor, model: Labeller, dataset: ImageDataset, *, name: str, flip: bool) -> Evaluation:
    """Compute an Evaluation from a model's logits (N, num_classes) on a dataset; ``name`` is the model's name in it."""
    labels = dataset.labels.cpu()
    confusion = metrics.confusion_matrix(logits, labels)
    per_class = metrics.per_class_accuracy(logits, labels).tolist()
    return Evaluation(
        model=name,
        data=dataset.name,
        num_images=len(dataset),
        flip=flip,
        accuracy=metrics.accuracy(logits, labels),
        accuracy_interval=statistics.wilson_interval(int(confusion.trace()), len(dataset)),
        per_class_accuracy=dict(zip(model.classes, per_class, strict=True)),
        confusion=confusion.tolist(),
        nll=metrics.negative_log_likelihood(logits, labels),
        ece=metrics.expected_calibration_error(logits, labels),
    )


def check_fit(name: str, model: Labeller, dataset: ImageDataset) -> None:
    """Raise UserError unless the dataset has images, and the model's classes and input size."""
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
            f"model {name} expects (channels, height, width) = {model.input_size}"
        )
