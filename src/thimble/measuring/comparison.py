"""Several models on the same test images: what each costs and scores, and which differ by more than chance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.data.sources import source_for
from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.storage.find import Model, load_model, name_of, run_folder_of
from thimble.storage.logs import Row, read_metrics
from thimble.system.arguments import described, take

from .evaluation import check_fit, reduce
from .inference import infer
from .statistics import holm, mcnemar
from .summary import summarize

if TYPE_CHECKING:
    from thimble.data.sources import Data

SIGNIFICANCE = 0.05
"""A pair is called different where its corrected p-value is below it."""


@dataclass(frozen=True)
class ComparedModel:
    """One of the models.

    Attributes:
        name: as it was asked for: a shipped model's name, a weights file or a run folder.
        architecture: name of the network.
        num_parameters: all of them.
        num_multiply_adds: of the forward pass of one image, as ``Summary`` counts them.
        accuracy: top-1 on the test images, in 0..1.
        accuracy_interval: Wilson's 95% interval of it.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error over 15 bins, in 0..1.
        history: the rows of a run's metrics.csv; empty for what is no run folder.
    """

    name: str
    architecture: str
    num_parameters: int
    num_multiply_adds: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    nll: float
    ece: float
    history: tuple[Row, ...] = ()

    @property
    def epochs(self) -> int | None:
        """Epochs trained; None where there is no history."""
        return len(self.history) or None

    @property
    def training_seconds(self) -> float | None:
        """Seconds in training steps, validation and saving not counted; None where there is no history."""
        return sum(row["seconds"] for row in self.history) if self.history else None

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON can hold it, epochs and seconds included."""
        return {
            **vars(self),
            "accuracy_interval": list(self.accuracy_interval),
            "epochs": self.epochs,
            "training_seconds": self.training_seconds,
            "history": [dict(row) for row in self.history],
        }


@dataclass(frozen=True)
class Pair:
    """McNemar's test of two of the models, image by image.

    Attributes:
        first, second: places of the two among the models, from 0.
        only_first: test images that only the first has right.
        only_second: those that only the second has right.
        p_value: how probable so uneven a split, or a more uneven one, is between two that err equally often.
        p_corrected: the same by Holm's method, for so many pairs tested at once.
    """

    first: int
    second: int
    only_first: int
    only_second: int
    p_value: float
    p_corrected: float

    @property
    def verdict(self) -> str:
        """``"different"`` where the corrected p-value is below 0.05, else ``"may be chance"``."""
        return "different" if self.p_corrected < SIGNIFICANCE else "may be chance"

    def to_dict(self) -> dict[str, Any]:
        """The test as JSON can hold it, with its verdict."""
        return {**vars(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Comparison:
    """Models on the same test images, in the order in which they were named, and the tests of all pairs.

    Attributes:
        data: name of the dataset.
        num_images: its test images.
        models: at least two.
        pairs: each two of them, once.
    """

    data: str
    num_images: int
    models: tuple[ComparedModel, ...]
    pairs: tuple[Pair, ...]

    @property
    def curves(self) -> dict[str, tuple[Row, ...]]:
        """The history of each run folder, under its number, from 1 as in the table, and its name; to be drawn."""
        return {f"{place + 1}  {model.name}": model.history for place, model in enumerate(self.models) if model.history}

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON can hold it; pairs name models by their place, from 0."""
        return {
            "data": self.data,
            "num_images": self.num_images,
            "models": [model.to_dict() for model in self.models],
            "pairs": [pair.to_dict() for pair in self.pairs],
        }


def compare(
    models: Sequence[Model],
    data: Data | None = None,
    data_dir: str | Path | None = None,
    *,
    progress: bool = False,
) -> Comparison:
    """Measure models on the same test images, and test each two of them for a difference.

    McNemar's exact test (see ``mcnemar``), with Holm's correction over all pairs. It tells about these weights
    on these test images, not about the recipes that made them: another seed gives other weights, and which recipe is
    better takes several seeds of each.

    Args:
        models: at least two, of the same classes; each a shipped model's name, a weights file or a run folder.
        data: a dataset's name or path, whose test images are used, or an ``ImageDataset``. Default: the data that the
            first model was trained on.
        data_dir: the folder that holds, or will hold, CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.
        progress: show a progress bar on stderr while downloading.

    Raises:
        UserError: fewer than two models, one that is none, or whose metrics.csv is missing or damaged; models of
            different classes; no such dataset, or one that does not fit them.
        RunError: a model gives nan or infinite logits.
    """
    count = len(models) if isinstance(models, list | tuple) else 1
    if count < 2:
        found = f"{count}" if isinstance(models, list | tuple | str | Path) else described(models)
        raise UserError(f"models to compare: found {found}, expected at least two: thimble compare MODEL MODEL...")
    folder: Path | None = take("data_dir", data_dir, Path | None, "a path")
    progress = take("progress", progress, bool, "true or false")
    names = [name_of(model) for model in models]
    # All that can be wrong comes before the data, which may be a download, and before any work.
    loaded = [load_model(model) for model in models]
    histories = [_history(model) for model in models]
    for name, other in zip(names[1:], loaded[1:], strict=True):
        _check_same_classes(names[0], loaded[0], name, other)
    dataset = source_for(data, loaded[0].data, names[0], folder).load("test", progress=progress)
    for name, classifier in zip(names, loaded, strict=True):
        check_fit(name, classifier, dataset)
    compared, correct = [], []
    for name, classifier, history in zip(names, loaded, histories, strict=True):
        measured, right = _measure(name, classifier, dataset, history)
        compared.append(measured)
        correct.append(right)
    return Comparison(dataset.name, len(dataset), tuple(compared), _test(correct))


def _history(model: Model) -> tuple[Row, ...]:
    """The epochs of a run folder; none of anything else."""
    run = run_folder_of(model)
    return () if run is None else tuple(read_metrics(run))


def _check_same_classes(name: str, model: Classifier, other_name: str, other: Classifier) -> None:
    for index, (one, two) in enumerate(itertools.zip_longest(model.classes, other.classes)):
        if one != two:
            found = " and ".join("missing" if label is None else repr(label) for label in (one, two))
            raise UserError(
                f"{name} and {other_name} have different classes: class {index} is {found}; "
                "expected models of the same classes"
            )


def _measure(
    name: str, model: Classifier, dataset: ImageDataset, history: tuple[Row, ...]
) -> tuple[ComparedModel, Tensor]:
    """The model's figures, and which of the images it has right: bool (N,)."""
    logits = infer(model, dataset.images, mean=model.mean, std=model.std)
    result = reduce(logits, model, dataset, name=name, flip=False)
    summary = summarize(model)
    compared = ComparedModel(
        name=name,
        architecture=model.name,
        num_parameters=summary.num_parameters,
        num_multiply_adds=summary.num_multiply_adds,
        accuracy=result.accuracy,
        accuracy_interval=result.accuracy_interval,
        nll=result.nll,
        ece=result.ece,
        history=history,
    )
    return compared, logits.argmax(1) == dataset.labels.cpu()


def _test(correct: Sequence[Tensor]) -> tuple[Pair, ...]:
    """McNemar's test of each two, corrected for their number."""
    places = list(itertools.combinations(range(len(correct)), 2))
    found = [mcnemar(correct[first], correct[second]) for first, second in places]
    corrected = holm([p_value for _, _, p_value in found])
    return tuple(
        Pair(first, second, only_first, only_second, p_value, p)
        for (first, second), (only_first, only_second, p_value), p in zip(places, found, corrected, strict=True)
    )
