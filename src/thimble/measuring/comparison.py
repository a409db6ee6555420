"""Compare models on the same test images: cost, accuracy, and which differ by more than chance."""

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
"""A pair of models is called different if its corrected p-value is below this level."""


@dataclass(frozen=True)
class ComparedModel:
    """The cost and the metrics of one compared model.

    Attributes:
        name: the model as it was given: a shipped model's name, a weights file or a run folder.
        architecture: the architecture's name.
        num_parameters: the number of all parameters.
        num_multiply_adds: multiply-adds of one image's forward pass, as ``Summary`` counts them.
        accuracy: top-1 accuracy on the test images, in 0..1.
        accuracy_interval: its 95% interval (Wilson).
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error over 15 bins, in 0..1.
        history: the rows of the run's metrics.csv; empty if the model is not a run folder.
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
        """The number of epochs trained; None without a history."""
        return len(self.history) or None

    @property
    def training_seconds(self) -> float | None:
        """Seconds of training, without validation and saving; None without a history."""
        return sum(row["seconds"] for row in self.history) if self.history else None

    def to_dict(self) -> dict[str, Any]:
        """The fields, epochs and training seconds, as values that JSON can hold."""
        return {
            **vars(self),
            "accuracy_interval": list(self.accuracy_interval),
            "epochs": self.epochs,
            "training_seconds": self.training_seconds,
            "history": [dict(row) for row in self.history],
        }


@dataclass(frozen=True)
class Pair:
    """McNemar's test of two of the models.

    Attributes:
        first, second: indices of the two models, from 0.
        only_first: the number of test images that only the first model classifies correctly.
        only_second: the number of test images that only the second model classifies correctly.
        p_value: the probability of a split at least this uneven between two models of equal accuracy.
        p_corrected: the p-value after Holm's correction for the number of pairs.
    """

    first: int
    second: int
    only_first: int
    only_second: int
    p_value: float
    p_corrected: float

    @property
    def verdict(self) -> str:
        """``"different"`` if the corrected p-value is below 0.05, else ``"may be chance"``."""
        return "different" if self.p_corrected < SIGNIFICANCE else "may be chance"

    def to_dict(self) -> dict[str, Any]:
        """The fields and the verdict, as values that JSON can hold."""
        return {**vars(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Comparison:
    """The metrics of several models on the same test images, and a test of each pair.

    Attributes:
        data: the dataset's name.
        num_images: the number of test images.
        models: the models, at least two, in the given order.
        pairs: the test of each pair of models.
    """

    data: str
    num_images: int
    models: tuple[ComparedModel, ...]
    pairs: tuple[Pair, ...]

    @property
    def curves(self) -> dict[str, tuple[Row, ...]]:
        """Each run folder's history, for plots. The key is the model's number in the table, from 1, and its name."""
        return {f"{place + 1}  {model.name}": model.history for place, model in enumerate(self.models) if model.history}

    def to_dict(self) -> dict[str, Any]:
        """The comparison as values that JSON can hold; pairs refer to models by index, from 0."""
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
    """Measure models on the same test images, and test whether each pair differs.

    The test is McNemar's exact test (see ``mcnemar``), with Holm's correction over all pairs. It compares these
    weights on these test images, not the recipes behind them: another seed gives other weights. To compare recipes,
    train several seeds of each.

    Args:
        models: at least two, with the same classes; each a shipped model's name, a weights file or a run folder.
        data: a dataset's name or path, whose test images are used, or an ``ImageDataset``. Default: the data that the
            first model was trained on.
        data_dir: the folder that holds, or will hold, CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.
        progress: show a progress bar on stderr while downloading.

    Raises:
        UserError: there are fewer than two models; a model cannot be loaded; a run's metrics.csv is missing or damaged;
            the classes differ; there is no such dataset, or it does not fit the models.
        RunError: a model gives nan or infinite logits.
    """
    count = len(models) if isinstance(models, list | tuple) else 1
    if count < 2:
        found = f"{count}" if isinstance(models, list | tuple | str | Path) else described(models)
        raise UserError(f"models to compare: found {found}, expected at least two: thimble compare MODEL MODEL...")
    folder: Path | None = take("data_dir", data_dir, Path | None, "a path")
    progress = take("progress", progress, bool, "true or false")
    names = [name_of(model) for model in models]
    # Check everything before the data, which may be a download, and before any work.
    loaded = [load_model(model) for model in models]
    histories = [_history(model) for model in models]
    for name, other in zip(names[1:], loaded[1:], strict=True):
        _check_same_classes(names[0], loaded[0], name, other)
    dataset = source_for(data, loaded[0], names[0], folder).load("test", progress=progress)
    for name, classifier in zip(names, loaded, strict=True):
        check_fit(name, classifier, dataset)
    compared, correct = [], []
    for name, classifier, history in zip(names, loaded, histories, strict=True):
        measured, right = _measure(name, classifier, dataset, history)
        compared.append(measured)
        correct.append(right)
    return Comparison(dataset.name, len(dataset), tuple(compared), _test(correct))


def _history(model: Model) -> tuple[Row, ...]:
    """The epochs of a run folder; empty for any other model."""
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
    """Measure a model; also returns whether it classifies each image correctly: bool (N,)."""
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
    """Run McNemar's test for each pair, corrected for the number of pairs."""
    places = list(itertools.combinations(range(len(correct)), 2))
    found = [mcnemar(correct[first], correct[second]) for first, second in places]
    corrected = holm([p_value for _, _, p_value in found])
    return tuple(
        Pair(first, second, only_first, only_second, p_value, p)
        for (first, second), (only_first, only_second, p_value), p in zip(places, found, corrected, strict=True)
    )
