"""Define ``Evaluation``, the metrics of a model on a dataset."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from . import metrics, statistics

FEW_IMAGES = 10
"""A class with fewer test images gets a warning: even 9 right ones of 9 leave its accuracy between 70% and 100%."""

_NAMED = 5
_UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class. Fractions are in 0..1; those of no images or predictions are nan.

    Attributes:
        num_images: the number of images of this class.
        recall: the share of its images that are predicted as it, which is the class's accuracy.
        recall_interval: its 95% interval (Wilson).
        precision: the share of its predictions that are right; it depends on how many images the other classes have.
        precision_interval: its 95% interval (Wilson).
        f1: the harmonic mean of precision and recall; nan if the class has no images.
    """

    num_images: int
    recall: float
    recall_interval: tuple[float, float]
    precision: float
    precision_interval: tuple[float, float]
    f1: float


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
        part: "test" if the images are the dataset's test part; "all" if they are images without parts.
        auroc: the area under the ROC curve, in 0..1, if there are two classes and both have images; else nan.
        auroc_interval: its 95% interval (Newcombe); nan as before.
        top5_accuracy: the share of images whose class is among the five most probable, if there are more than ten
            classes; else nan.
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
    part: str = "all"
    auroc: float = math.nan
    auroc_interval: tuple[float, float] = _UNKNOWN
    top5_accuracy: float = math.nan

    # The following need the confusion matrix only, so that evaluations recorded before they existed have them too.

    @cached_property
    def balanced_accuracy(self) -> float:
        """The mean of the classes' accuracies, in 0..1: each class counts the same, however many images it has."""
        return metrics.balanced_accuracy(self._counts)

    @cached_property
    def balanced_accuracy_interval(self) -> tuple[float, float]:
        """Its 95% interval, see ``statistics.balanced_accuracy_interval``."""
        return statistics.balanced_accuracy_interval(self._counts)

    @cached_property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that have images, in 0..1."""
        return metrics.macro_f1(self._counts)

    @cached_property
    def macro_f1_interval(self) -> tuple[float, float]:
        """Its 95% interval, see ``statistics.macro_f1_interval``."""
        return statistics.macro_f1_interval(self._counts)

    @cached_property
    def per_class(self) -> dict[str, ClassMetrics]:
        """The metrics of each class, by its name."""
        counts = self._counts
        columns = [
            *(counts.diagonal(), counts.sum(1), counts.sum(0)),
            *(metrics.recall(counts), metrics.precision(counts), metrics.f1(counts)),
        ]
        rows = zip(self.per_class_accuracy, *(column.tolist() for column in columns), strict=True)
        return {
            name: ClassMetrics(images, recall, _interval(right, images), precision, _interval(right, predicted), f1)
            for name, right, images, predicted, recall, precision, f1 in rows
        }

    @property
    def subject(self) -> str:
        """What was measured on, such as "10,000 test images of cifar10"."""
        return f"{self.num_images:,} {'test ' if self.part == 'test' else ''}images of {self.data}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on classes that have no images, or so few that their metrics are uncertain."""
        kind = "test images" if self.part == "test" else "images"
        found = {name: sum(row) for name, row in zip(self.per_class_accuracy, self.confusion, strict=True)}
        none = [name for name, count in found.items() if count == 0]
        few = [f"{name} ({count})" for name, count in found.items() if 0 < count < FEW_IMAGES]
        said = [
            (none, f"no {kind}", "Nothing is known about them."),
            (few, f"fewer than {FEW_IMAGES} {kind}", "Their figures are uncertain: see the intervals."),
        ]
        return tuple(
            f"{len(names)} of {len(found)} classes {_have(names)} {what}: {_listed(names)}. {advice}"
            for names, what, advice in said
            if names
        )

    def confused_pairs(self, most: int) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: true class, predicted class, number of images; at most ``most``."""
        names, counts = list(self.per_class_accuracy), self._counts
        mistakes = counts - counts.diagonal().diag()
        best = mistakes.flatten().sort(descending=True, stable=True).indices[:most].tolist()
        places = [divmod(place, len(names)) for place in best]
        return [(names[true], names[taken], found) for true, taken in places if (found := int(mistakes[true, taken]))]

    @cached_property
    def _counts(self) -> Tensor:
        return torch.tensor(self.confusion, dtype=torch.int64)

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as values that JSON can hold: intervals are lists, nan becomes None."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        derived = ("balanced_accuracy", "balanced_accuracy_interval", "macro_f1", "macro_f1_interval", "warnings")
        per_class = {name: vars(each) for name, each in self.per_class.items()}
        found: dict[str, Any] = _as_json(
            fields | {name: getattr(self, name) for name in derived} | {"per_class": per_class}
        )
        return found


def _interval(right: int, count: int) -> tuple[float, float]:
    return statistics.wilson_interval(right, count) if count else _UNKNOWN


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _as_json(value: Any) -> Any:
    """Turn tuples into lists, and nan into None."""
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
