"""Make the sections of a report: their texts, plots and pictures."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from thimble.data.augment.preview import preview
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset
from thimble.data.pixels import to_picture
from thimble.errors import UserError
from thimble.explaining.attribution import grad_cam
from thimble.explaining.picture import heat
from thimble.measuring.evaluation import Evaluation
from thimble.measuring.summary import Summary
from thimble.models.classifier import Classifier
from thimble.storage.logs import Row
from thimble.system.names import shown
from thimble.system.settings import before

from . import figures as plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MISTAKES = 25


@dataclass(frozen=True)
class Plot:
    """A plot in a report: its file's name, a title, and a description for readers who cannot see it."""

    name: str
    title: str
    description: str
    svg: str
    wide: bool = False

    @property
    def inline(self) -> str:
        """The plot as SVG for a page: in the page's text colour, and with ids that are unique in the page."""

        def adapted(tag: re.Match[str]) -> str:  # change tags only: the text between them may be a class's name
            prefixed = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", tag[0])
            return prefixed.replace(plots.INK, "currentColor")

        return re.sub(r"<[^>]*>", adapted, self.svg)


@dataclass(frozen=True)
class Section:
    """A part of a report: a title, a text, and usually one of the other fields."""

    id: str
    title: str
    text: str = ""
    plots: list[Plot] = field(default_factory=list)
    picture: dict[str, Any] | None = None
    layers: Summary | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    code: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Subject:
    """Everything that a report shows: the model, its run's files, and its results."""

    name: str
    model: Classifier
    metadata: dict[str, Any]
    checksum: str
    history: list[Row]
    environment: dict[str, Any]
    summary: Summary
    train: ImageDataset
    test: ImageDataset
    logits: Tensor
    evaluation: Evaluation

    @property
    def classes(self) -> list[str]:
        """The class names, with unprintable characters escaped."""
        return [shown(name) for name in self.model.classes]


def sections_of(subject: Subject) -> tuple[list[Section], dict[str, Image.Image]]:
    """Return the sections in order, and the pictures among them by name."""
    pictures = {"augmentation": preview(subject.train, _augmentation(subject.metadata))}
    mistakes, pictures["mistakes"] = _mistakes(subject)
    parts = [_learning(subject), _network(subject), _accuracy(subject), mistakes]
    return [*parts, _augmented(subject, pictures["augmentation"]), _filters(subject), _reproduce(subject)], pictures


def _plot(name: str, title: str, description: str, figure: Figure, *, wide: bool = False) -> Plot:
    return Plot(name, title, description, plots.to_svg(figure), wide)


def _learning(subject: Subject) -> Section:
    if not subject.history:
        text = "No training curves: a weights file does not contain them. A report on a run folder shows them."
        return Section("learning", "Training curves", text)
    first, last = subject.history[0], subject.history[-1]
    description = (
        f"Over {len(subject.history)} epochs, training loss goes from {first['train_loss']:.3f} to"
        f" {last['train_loss']:.3f} and training accuracy from {first['train_accuracy']:.1%} to"
        f" {last['train_accuracy']:.1%}."
    )
    if last["validation_accuracy"] is not None:
        description += f" Validation accuracy ends at {last['validation_accuracy']:.1%}."
    text = (
        "Training loss and accuracy are measured on augmented images while the weights change; some recipes also train"
        " on small images at first, and later on the harder images only. Validation uses held-out images and the"
        " averaged weights."
    )
    figure = plots.curves(subject.history)
    drawn = _plot("curves", "Loss, accuracy and learning rate by epoch", description, figure, wide=True)
    return Section("learning", "Training curves", text, [drawn])


def _network(subject: Subject) -> Section:
    summary = subject.summary
    figure = plots.receptive_field(summary)
    drawn = []
    if figure is not None:
        description = f"Nested squares over the image; the last layer's is {summary.receptive_field} pixels wide."
        title = "The middle unit's receptive field, layer by layer"
        drawn.append(_plot("receptive_field", title, description, figure))
    text = (
        "Each unit of a layer depends on a square of the image, its receptive field. Outside the image it sees padding."
    )
    return Section("network", "The network", text, drawn, layers=summary)


def _accuracy(subject: Subject) -> Section:
    evaluation = subject.evaluation
    classes = subject.classes
    known = {shown(name): value for name, value in evaluation.per_class_accuracy.items() if value == value}
    worst, best = min(known, key=lambda name: known[name]), max(known, key=lambda name: known[name])
    table = torch.tensor(evaluation.confusion)
    table.fill_diagonal_(0)
    true, predicted = divmod(int(table.argmax()), len(classes))
    matrix = f"Most common mistake: {classes[true]} predicted as {classes[predicted]}, {int(table.max())} times."
    bars = f"Best class: {best}, {known[best]:.1%}. Worst class: {worst}, {known[worst]:.1%}."
    confidence = subject.logits.double().softmax(1).max(1).values.mean().item()
    sure = (
        f"Mean confidence {confidence:.1%}, accuracy {evaluation.accuracy:.1%}; calibration error {evaluation.ece:.4f}."
    )
    return Section(
        "accuracy",
        "Accuracy and calibration",
        f"{matrix} {bars} {sure}",
        [
            _plot(
                "confusion",
                "Confusion matrix, in percent of each true class",
                matrix,
                plots.confusion(evaluation.confusion, classes),
            ),
            _plot(
                "per_class",
                "Accuracy of each class",
                bars,
                plots.per_class(evaluation.per_class_accuracy, evaluation.accuracy),
            ),
            _plot(
                "reliability",
                "Calibration: accuracy at each confidence, in bins with at least 0.1% of the images. Below the dotted"
                " line, the model is overconfident",
                sure,
                plots.reliability(subject.logits, subject.test.labels.cpu()),
            ),
        ],
    )


def _mistakes(subject: Subject) -> tuple[Section, Image.Image]:
    """Show the mistakes with the highest confidence, each with Grad-CAM; also draw them all in one picture."""
    confidence, predicted = subject.logits.double().softmax(1).max(1)
    wrong = (predicted != subject.test.labels.cpu()).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True)[:_MISTAKES]]
    side, gap, columns = 96, 6, 5
    _, height, width = subject.model.input_size
    size = (max(1, round(side * width / max(height, width))), max(1, round(side * height / max(height, width))))
    page = Image.new("RGB", (columns * (2 * side + 3 * gap), max(1, -(-len(worst) // columns)) * (side + gap)), "white")
    found = []
    if len(worst) > 0:
        maps = grad_cam(subject.model, subject.test.images[worst], predicted[worst])
        for place, (index, seen) in enumerate(zip(worst.tolist(), maps, strict=True)):
            pixels = to_picture(subject.test.images[index]).convert("RGB")
            large = pixels.resize(size, Image.Resampling.NEAREST)
            heated = heat(large, seen)
            corner = place % columns * (2 * side + 3 * gap), place // columns * (side + gap)
            page.paste(large, corner)
            page.paste(heated, (corner[0] + side + gap, corner[1]))
            found.append(
                {
                    "index": index,
                    "label": subject.classes[int(subject.test.labels[index])],
                    "predicted": subject.classes[int(predicted[index])],
                    "confidence": f"{confidence[index]:.1%}",
                    "image": _source(pixels),
                    "heat": _source(heated),
                }
            )
    text = (
        f"{len(wrong):,} of {len(subject.test):,} test images are misclassified. These are the {len(found)} with the"
        " highest confidence. The heat map (Grad-CAM) beside each is bright where the image supports the wrong class."
    )
    return Section("mistakes", "Most confident mistakes", text, mistakes=found), page


def _augmentation(metadata: dict[str, Any]) -> AugmentConfig:
    """Read the augmentation from the recipe in the file; a missing setting means that it was not used."""
    try:
        settings = {**before(AugmentConfig), **metadata["recipe"]["augment"]}
        settings["cutout_size"] = tuple(settings["cutout_size"])
        return AugmentConfig(**settings)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the model's file describes its augmentation incompletely ({error}): expected what Thimble saves"
        ) from error


def _augmented(subject: Subject, picture: Image.Image) -> Section:
    described = {
        "source": _source(picture),
        "description": "One row per class: an image on the left, then nine augmented versions of it.",
        "width": picture.width,
        "height": picture.height,
    }
    return Section(
        "augmentation",
        "Training data and augmentation",
        f"One training image of each class of {shown(subject.train.name)}, and nine augmented versions of it.",
        picture=described,
    )


def _filters(subject: Subject) -> Section:
    first = next((module for module in subject.model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels != 3:
        return Section("filters", "First-layer filters", "No picture: the first layer's input is not an RGB image.")
    description = (
        f"{first.out_channels} kernels of {first.kernel_size[0]}x{first.kernel_size[1]} pixels, shown as colours."
    )
    drawn = _plot(
        "filters",
        "The first layer's kernels, each scaled separately; grey is zero",
        description,
        plots.filters(first.weight),
    )
    return Section("filters", "First-layer filters", "", [drawn])


def _reproduce(subject: Subject) -> Section:
    words = subject.environment.get("command")
    known = isinstance(words, list) and all(isinstance(word, str) for word in words)
    code = [("Command", shown(shlex.join(words)))] if known and words else []
    code += [
        ("Recipe", json.dumps(subject.metadata.get("recipe", {}), indent=2)),
        ("Environment", json.dumps(subject.environment, indent=2)),
        ("SHA-256 of the weights file", subject.checksum),
    ]
    return Section(
        "reproduce",
        "Reproduce",
        "On the same machine with the same versions, the same seed gives the same weights.",
        code=code,
    )


def png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, format="PNG", optimize=True)
    return written.getvalue()


def _source(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
