"""Write a model card: the page that the Hugging Face Hub shows for a model.

All figures are computed from the model, read from its weights file, or measured on request. Whatever is unknown is left
out or marked as unknown. A card is YAML front matter, then Markdown: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from thimble.data.sources import known_source
from thimble.errors import UserError
from thimble.measuring.evaluation import Evaluation, evaluate
from thimble.measuring.summary import summarize
from thimble.models.classifier import Classifier, as_classifier
from thimble.storage.find import Model, load_described, name_of, run_folder_of
from thimble.storage.shipped import list_pretrained, shipped_weights
from thimble.storage.tensor_file import open_tensors
from thimble.storage.weights import WEIGHTS_FILE, as_bytes
from thimble.system.arguments import expanded
from thimble.system.extras import require
from thimble.system.files import write_atomically
from thimble.system.names import markdown, one_line

from .recorded import data_of, licence_of, recorded_test, training_of

if TYPE_CHECKING:
    from thimble.data.sources import Data

LIBRARY, TASK = "thimble", "image-classification"
TAGS = ("thimble", "pytorch", "tinyml")

_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")
_MOST_CLASSES = 50


def model_card(
    model: Model,
    *,
    repo: str | None = None,
    measure: bool = False,
    data: Data | None = None,
    data_dir: str | Path | None = None,
) -> str:
    """Return a model's card: YAML front matter, then Markdown.

    Args:
        model: a shipped model's name, a weights file or a run folder. For a run folder, the card has its command too.
        repo: the repository on the Hugging Face Hub for which the card is, OWNER/NAME.
        measure: test the model now, instead of reporting the recorded test.
        data: with ``measure``, a dataset's name or path, or an ``ImageDataset``. Default: the dataset that the model
            records.
        data_dir: with ``measure``, the folder that has CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.

    Raises:
        UserError: there is no such model, ``repo`` is not a valid name, or, with ``measure``, there is no dataset.
        RunError: the model returns nan or infinite logits.
    """
    require("jinja2", "yaml", by="the model card", extra="hub")
    import jinja2

    if repo is not None and not _REPOSITORY.fullmatch(repo):
        raise UserError(f"repository {repo!r}: expected OWNER/NAME, with letters, digits, '-', '_' and '.' only")
    classifier, metadata, checksum = load_described(model)
    test = evaluate(classifier, data, data_dir=data_dir, progress=True) if measure else recorded_test(metadata)
    shipped = isinstance(model, str) and model in list_pretrained()
    title = _title(model, classifier, repo, shipped)
    licence, trained_on = licence_of(metadata), data_of(metadata)
    environment = jinja2.Environment(
        autoescape=False,  # that is for HTML; the filter markdown escapes Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"markdown": markdown, "known_as": _known_as, "interval": _interval}
    template = environment.from_string((resources.files("thimble.sharing") / "card.md.j2").read_text("utf-8"))
    return template.render(
        front_matter=_front_matter(title, licence, trained_on, test),
        title=title,
        model=classifier,
        mean=_figures(classifier.mean),
        std=_figures(classifier.std),
        classes=classifier.classes[:_MOST_CLASSES],
        summary=summarize(classifier),
        file=_file(model, classifier, shipped),
        checksum=checksum,
        licence=licence,
        data=trained_on,
        test=test,
        ranking=_ranking(test),
        sizes=_class_sizes(test),
        mistake=_commonest_mistake(test),
        measured=measure,
        training=training_of(model, metadata),
        shipped=model if shipped else None,
        repo=repo,
    )


def write_card(
    model: Model,
    output: str | Path,
    *,
    repo: str | None = None,
    measure: bool = False,
    data: Data | None = None,
    data_dir: str | Path | None = None,
) -> Path:
    """Write a model's card to a file; an existing file is replaced. See ``model_card``.

    Returns:
        The file's path.

    Raises:
        UserError: as in ``model_card``; or the output is a folder.
        RunError: as in ``model_card``; or the file could not be written.
    """
    path = expanded(output)
    if path.is_dir():
        raise UserError(f"--output {path} is a folder: expected a file such as {path / 'README.md'}")
    write_atomically(path, model_card(model, repo=repo, measure=measure, data=data, data_dir=data_dir))
    return path


def _known_as(data: str) -> str:
    known = known_source(data)
    return known.title if known else markdown(data)


def _interval(ends: tuple[float, float]) -> str:
    return f"95% interval {ends[0]:.2%} to {ends[1]:.2%}"


def _figures(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _title(model: Model, classifier: Classifier, repo: str | None, shipped: bool) -> str:
    """The card's title: the name of the repository, of the shipped model, of the run folder or of the file."""
    if repo or shipped:
        return one_line((repo or str(model)).rpartition("/")[2])
    folder = run_folder_of(model)
    name = folder.resolve().name if folder else Path(name_of(model)).stem
    return classifier.name if name == Path(WEIGHTS_FILE).stem else one_line(name)


def _file(model: Model, classifier: Classifier, shipped: bool) -> dict[str, Any]:
    """The weights file's size in bytes, and whether its parameters are in float16."""
    if as_classifier(model) is not None:
        return {"num_bytes": len(as_bytes(classifier)), "half": False}
    folder = None if shipped else run_folder_of(model)
    own = folder / WEIGHTS_FILE if folder else expanded(name_of(model))
    with shipped_weights(str(model)) if shipped else contextlib.nullcontext(own) as path, open_tensors(path) as file:
        types = {file.layouts[name].dtype for name, _ in classifier.named_parameters()}
        return {"num_bytes": path.stat().st_size, "half": torch.float16 in types}


def _front_matter(title: str, licence: str, data: dict[str, Any], test: Evaluation | None) -> str:
    """The YAML that the Hub reads, without the lines of dashes around it."""
    import yaml

    known = {"license": licence.lower()} if licence else {}  # the Hub writes licence names in lower case
    front: dict[str, Any] = {"library_name": LIBRARY, **known, "pipeline_tag": TASK, "tags": list(TAGS)}
    trained_on = known_source(data["name"])
    if trained_on and trained_on.hub_name:
        front["datasets"] = [trained_on.hub_name]
    if test:
        figures = [
            ("accuracy", "accuracy", test.accuracy),
            ("balanced_accuracy", "balanced accuracy", test.balanced_accuracy),
            ("f1", "macro F1", test.macro_f1),
            ("nll", "negative log-likelihood, in nats", test.nll),
            ("ece", "expected calibration error, 15 bins", test.ece),
        ]
        tested_on = known_source(test.data)
        result = {
            "task": {"type": TASK},
            "dataset": {
                "name": tested_on.title if tested_on else one_line(test.data),
                "type": (tested_on and tested_on.hub_name) or one_line(test.data),
                **({"split": "test"} if test.part == "test" else {}),
            },
            "metrics": [{"type": kind, "value": round(value, 6), "name": name} for kind, name, value in figures],
        }
        front |= {"metrics": ["accuracy"], "model-index": [{"name": title, "results": [result]}]}
    text: str = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120)
    return text


def _ranking(test: Evaluation | None) -> list[tuple[str, float]]:
    """The classes that have test images, with their accuracy, worst first."""
    known = test.per_class_accuracy.items() if test else ()
    return sorted(((name, value) for name, value in known if 0.0 <= value <= 1.0), key=lambda pair: pair[1])


def _class_sizes(test: Evaluation | None) -> tuple[int, int]:
    """The smallest and the largest number of test images of a class."""
    counts = [sum(row) for row in test.confusion] if test else [0]
    return min(counts), max(counts)


def _commonest_mistake(test: Evaluation | None) -> tuple[str, str, int] | None:
    """The most frequent mistake: true class, predicted class, and count; None if there are no mistakes."""
    return next(iter(test.confused_pairs(1)), None) if test else None
