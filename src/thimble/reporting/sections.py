"""The sections of a report: what each shows of a model, drawn and said."""

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
    """A drawing in a report: its file's name, what it shows, its content in a sentence for those who do not see it."""

    name: str
    title: str
    description: str
    svg: str
    wide: bool = False

    @property
    def inline(self) -> str:
        """The drawing for a page: in the page's ink, and with names that no other drawing in it has."""

        def adapted(tag: re.Match[str]) -> str:  # tags alone: what stands between them may be a class's name
            prefixed = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", tag[0])
            return prefixed.replace(plots.INK, "currentColor")

        return re.sub(r"<[^>]*>", adapted, self.svg)


@dataclass(frozen=True)
class Section:
    """A part of a report; of what a section can hold, most hold one thing."""

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
    """What a report is about, read and measured."""

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
        """The class names as a page can show them."""
        return [shown(name) for name in self.model.classes]


def sections_of(subject: Subject) -> tuple[list[Section], dict[str, Image.Image]]:
    """All sections in their order; and the pictures of pixels among them, by name."""
    pictures = {"augmentation": preview(subject.train, _augmentation(subject.metadata))}
    mistakes, pictures["mistakes"] = _mistakes(subject)
    parts = [_learning(subject), _network(subject), _accuracy(subject), mistakes]
    return [*parts, _augmented(pictures["augmentation"]), _filters(subject), _reproduce(subject)], pictures


def _plot(name: str, title: str, description: str, figure: Figure, *, wide: bool = False) -> Plot:
    return Plot(name, title, description, plots.to_svg(figure), wide)


def _learning(subject: Subject) -> Section:
    if not subject.history:
        text = "A weights file carries no history: a report of the run's folder shows its curves."
        return Section("learning", "How it learned", text)
    first, last = subject.history[0], subject.history[-1]
    description = (
        f"Over {len(subject.history)} epochs the training loss goes from {first['train_loss']:.3f} to"
        f" {last['train_loss']:.3f}, and training accuracy from {first['train_accuracy']:.1%} to"
        f" {last['train_accuracy']:.1%}."
    )
    if last["validation_accuracy"] is not None:
        description += f" Validation accuracy ends at {last['validation_accuracy']:.1%}."
    text = (
        "Training is measured on augmented images while the weights move (later, with some recipes, on small or on the"
        " harder ones alone); validation on images held out of training, with the averaged weights."
    )
    figure = plots.curves(subject.history)
    drawn = _plot("curves", "Loss, accuracy and learning rate, by epoch", description, figure, wide=True)
    return Section("learning", "How it learned", text, [drawn])


def _network(subject: Subject) -> Section:
    summary = subject.summary
    figure = plots.receptive_field(summary)
    drawn = []
    if figure is not None:
        description = f"Nested squares over the image; the last layer's is {summary.receptive_field} pixels wide."
        title = "What one unit in the middle sees, layer by layer"
        drawn.append(_plot("receptive_field", title, description, figure))
    text = "A unit of a layer sees a square of the image, its receptive field; beyond the edge it sees padding."
    return Section("network", "The network", text, drawn, layers=summary)


def _accuracy(subject: Subject) -> Section:
    evaluation = subject.evaluation
    classes = subject.classes
    known = {shown(name): value for name, value in evaluation.per_class_accuracy.items() if value == value}
    worst, best = min(known, key=lambda name: known[name]), max(known, key=lambda name: known[name])
    table = torch.tensor(evaluation.confusion)
    table.fill_diagonal_(0)
    true, taken = divmod(int(table.argmax()), len(classes))
    matrix = f"The commonest mistake: {classes[true]} taken for {classes[taken]}, {int(table.max())} times."
    bars = f"Best: {best}, {known[best]:.1%}. Worst: {worst}, {known[worst]:.1%}."
    confidence = subject.logits.double().softmax(1).max(1).values.mean().item()
    sure = (
        f"Mean confidence {confidence:.1%}, accuracy {evaluation.accuracy:.1%}; calibration error {evaluation.ece:.4f}."
    )
    return Section(
        "accuracy",
        "How good it is",
        f"{matrix} {bars} {sure}",
        [
            _plot(
                "confusion",
                "Confusion, in percent of each class",
                matrix,
                plots.confusion(evaluation.confusion, classes),
            ),
            _plot(
                "per_class",
                "Accuracy by class",
                bars,
                plots.per_class(evaluation.per_class_accuracy, evaluation.accuracy),
            ),
            _plot(
                "reliability",
                "Reliability: is it as right as it is sure? Below the dotted line it is too sure",
                sure,
                plots.reliability(subject.logits, subject.test.labels.cpu()),
            ),
        ],
    )


def _mistakes(subject: Subject) -> tuple[Section, Image.Image]:
    """The mistakes that the model is surest of, with what it saw; and all of them on one page."""
    confidence, answers = subject.logits.double().softmax(1).max(1)
    wrong = (answers != subject.test.labels.cpu()).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True)[:_MISTAKES]]
    side, gap, columns = 96, 6, 5
    _, height, width = subject.model.input_size
    size = (max(1, round(side * width / max(height, width))), max(1, round(side * height / max(height, width))))
    page = Image.new("RGB", (columns * (2 * side + 3 * gap), max(1, -(-len(worst) // columns)) * (side + gap)), "white")
    found = []
    if len(worst) > 0:
        maps = grad_cam(subject.model, subject.test.images[worst], answers[worst])
        for place, (index, seen) in enumerate(zip(worst.tolist(), maps, strict=True)):
            pixels = Image.fromarray(subject.test.images[index].permute(1, 2, 0).cpu().numpy())
            large = pixels.resize(size, Image.Resampling.NEAREST)
            heated = heat(large, seen)
            corner = place % columns * (2 * side + 3 * gap), place // columns * (side + gap)
            page.paste(large, corner)
            page.paste(heated, (corner[0] + side + gap, corner[1]))
            found.append(
                {
                    "index": index,
                    "label": subject.classes[int(subject.test.labels[index])],
                    "taken_for": subject.classes[int(answers[index])],
                    "confidence": f"{confidence[index]:.1%}",
                    "image": _source(pixels),
                    "heat": _source(heated),
                }
            )
    text = (
        f"{len(wrong):,} of {len(subject.test):,} test images are taken for something else. The {len(found)} of them"
        " that it is surest of, each with Grad-CAM beside it: bright is what spoke for the wrong class."
    )
    return Section("mistakes", "Its most confident mistakes", text, mistakes=found), page


def _augmentation(metadata: dict[str, Any]) -> AugmentConfig:
    """As the recipe in the file has it; what it does not know was not done."""
    try:
        settings = {**before(AugmentConfig), **metadata["recipe"]["augment"]}
        settings["cutout_size"] = tuple(settings["cutout_size"])
        return AugmentConfig(**settings)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the model's file describes its augmentation incompletely ({error}): expected what Thimble saves"
        ) from error


def _augmented(picture: Image.Image) -> Section:
    described = {
        "source": _source(picture),
        "description": "A row for each class: an image at the left, nine augmentations of it beside it.",
        "width": picture.width,
        "height": picture.height,
    }
    return Section(
        "augmentation",
        "What it was trained on",
        "One image of each class, and what training made of it.",
        picture=described,
    )


def _filters(subject: Subject) -> Section:
    first = next((module for module in subject.model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels != 3:
        return Section("filters", "Its first filters", "The first layer does not look at the three colours.")
    description = f"{first.out_channels} kernels of {first.kernel_size[0]}x{first.kernel_size[1]} pixels, as colours."
    drawn = _plot(
        "filters",
        "The kernels of the first layer, each on a scale of its own; grey is zero",
        description,
        plots.filters(first.weight),
    )
    return Section("filters", "Its first filters", "", [drawn])


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
        "reproduce", "To repeat it", "The same seed gives the same weights on the same machine and versions.", code=code
    )


def png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, format="PNG", optimize=True)
    return written.getvalue()


def _source(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
