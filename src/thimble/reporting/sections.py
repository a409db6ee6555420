"""Make the sections of a report: their texts, plots and pictures."""

from __future__ import annotations

import dataclasses
import json
import shlex
from typing import Any

from PIL import Image
from torch import nn

from thimble.data.augment.preview import preview
from thimble.data.augment.settings import AugmentConfig
from thimble.data.pixels import to_picture
from thimble.errors import UserError
from thimble.explaining.attribution import grad_cam
from thimble.explaining.picture import heat
from thimble.system.names import shown
from thimble.system.settings import before

from . import figures
from .accuracy import accuracy
from .content import Section, Subject, data_url, drawn

_DRAWN_CLASSES = 12
_TILE = 96
"""The augmented images' side in pixels, about."""

_MISTAKES = 25


def sections_of(subject: Subject) -> tuple[list[Section], dict[str, Image.Image]]:
    """Return the sections in order, and the pictures among them by name."""
    pictures = {"augmentation": _augmentations(subject)}
    mistakes, pictures["mistakes"] = _mistakes(subject)
    parts = [_learning(subject), _network(subject), accuracy(subject), mistakes]
    return [*parts, _augmented(subject, pictures["augmentation"]), _filters(subject), _reproduce(subject)], pictures


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
    figure = figures.curves(subject.history)
    plot = drawn("curves", "Loss, accuracy and learning rate by epoch", description, figure, wide=True)
    return Section("learning", "Training curves", text, plots=[plot])


def _network(subject: Subject) -> Section:
    summary = subject.summary
    figure = figures.receptive_field(summary)
    plots = []
    if figure is not None:
        description = f"Nested squares over the image; the last layer's is {summary.receptive_field} pixels wide."
        title = "The middle unit's receptive field, layer by layer"
        plots.append(drawn("receptive_field", title, description, figure))
    text = (
        "Each unit of a layer depends on a square of the image, its receptive field. Outside the image it sees padding."
    )
    return Section("network", "The network", text, plots=plots, layers=summary)


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
                    "kind": subject.kind,
                    "label": subject.classes[int(subject.test.labels[index])],
                    "predicted": subject.classes[int(predicted[index])],
                    "confidence": f"{confidence[index]:.1%}",
                    "image": data_url(pixels),
                    "heat": data_url(heated),
                }
            )
    text = (
        f"{len(wrong):,} of {len(subject.test):,} {subject.kind}s are misclassified. These are the {len(found)} with"
        " the highest confidence. The heat map (Grad-CAM) beside each is bright where the image"
        " supports the wrong class."
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


def _augmentations(subject: Subject) -> Image.Image:
    """Draw augmented images of the first classes, so that the picture does not grow without end."""
    train = subject.train
    if len(train.classes) > _DRAWN_CLASSES:
        first = train.subset((train.labels < _DRAWN_CLASSES).nonzero().flatten())
        train = dataclasses.replace(first, classes=train.classes[:_DRAWN_CLASSES], numbers=None)
    scale = max(1, _TILE // max(train.images.shape[-2:]))
    return preview(train, _augmentation(subject.metadata), scale=scale)


def _augmented(subject: Subject, picture: Image.Image) -> Section:
    described = {
        "source": data_url(picture),
        "description": "One row per class: an image on the left, then nine augmented versions of it.",
        "width": picture.width,
        "height": picture.height,
    }
    classes = len(subject.classes)
    which = f"each of the first {_DRAWN_CLASSES} classes" if classes > _DRAWN_CLASSES else "each class"
    return Section(
        "augmentation",
        "Training data and augmentation",
        f"One training image of {which} of {shown(subject.train.name)}, and nine augmented versions of it.",
        picture=described,
    )


def _filters(subject: Subject) -> Section:
    first = next((module for module in subject.model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels not in (1, 3):
        return Section("filters", "First-layer filters", "No picture: the first layer's input is not an image.")
    shown_as = "colours" if first.in_channels == 3 else "greys"
    size = f"{first.kernel_size[0]}x{first.kernel_size[1]}"
    description = f"{first.out_channels} kernels of {size} pixels, shown as {shown_as}."
    plot = drawn(
        "filters",
        f"The first layer's kernels, each scaled separately; {'middle ' if first.in_channels == 1 else ''}grey is zero",
        description,
        figures.filters(first.weight),
    )
    return Section("filters", "First-layer filters", plots=[plot])


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
