"""Make the report's section on accuracy: confusion, the classes, ROC curve, calibration."""

from __future__ import annotations

import math

from thimble.measuring import metrics
from thimble.system.names import shown

from . import class_figures
from .class_figures import MANY_CLASSES
from .content import Plot, Section, Subject, Table, drawn

_WIDE_FROM = 13
"""From this number of classes on, the confusion matrix needs the page's full width."""

_PAIRS = 30


def accuracy(subject: Subject) -> Section:
    """Tell how often the model is right, for which classes, and how sure it is."""
    evaluation = subject.evaluation
    plots = [_confusion(subject), _per_class(subject)]
    if not math.isnan(evaluation.auroc):
        plots.append(_roc(subject))
    plots.append(_reliability(subject))
    tables = [_classes(subject)]
    if len(subject.classes) > MANY_CLASSES and evaluation.accuracy < 1:
        tables.append(_pairs(subject))
    low, high = evaluation.macro_f1_interval
    text = " ".join(
        [
            f"Macro F1, the mean of the classes' F1: {evaluation.macro_f1:.2%} (95% interval {low:.2%} to {high:.2%}).",
            *([] if math.isnan(evaluation.top5_accuracy) else [f"Top-5 accuracy: {evaluation.top5_accuracy:.2%}."]),
            *(plot.description for plot in plots),
            "Intervals cover only the chance in the choice of images.",
        ]
    )
    warnings = [shown(warning) for warning in evaluation.warnings]
    return Section("accuracy", "Accuracy and calibration", text, warnings=warnings, plots=plots, tables=tables)


def _confusion(subject: Subject) -> Plot:
    pairs = subject.evaluation.confused_pairs(1)
    found = "There are no mistakes."
    if pairs:
        true, taken, count = pairs[0]
        times = "once" if count == 1 else f"{count:,} times"
        found = f"Most common mistake: {shown(true)} predicted as {shown(taken)}, {times}."
    many = len(subject.classes) > MANY_CLASSES
    title = "Confusion matrix, in percent of each true class"
    if many:
        title = (
            "Confusion matrix: right predictions in blue, mistakes in orange; the stronger the colour, the larger the"
            " share of the true class"
        )
    figure = class_figures.confusion(subject.evaluation.confusion, subject.classes)
    return drawn("confusion", title, found, figure, wide=len(subject.classes) >= _WIDE_FROM)


def _per_class(subject: Subject) -> Plot:
    evaluation = subject.evaluation
    known = {name: each for name, each in evaluation.per_class.items() if each.num_images}
    worst = min(known, key=lambda name: known[name].recall)
    best = max(known, key=lambda name: known[name].recall)
    found = (
        f"Best class: {shown(best)}, {known[best].recall:.1%}. Worst class: {shown(worst)}, {known[worst].recall:.1%}."
    )
    title = "Accuracy of each class, with its 95% interval"
    if len(known) > MANY_CLASSES:
        title = f"The {MANY_CLASSES} classes with the lowest accuracy, with its 95% interval"
    lowest = sorted(known, key=lambda name: known[name].recall)[:MANY_CLASSES]
    figure = class_figures.per_class(
        {name: known[name].recall for name in lowest},
        evaluation.accuracy,
        {name: known[name].recall_interval for name in lowest},
    )
    return drawn("per_class", title, found, figure)


def _roc(subject: Subject) -> Plot:
    evaluation, (first, second) = subject.evaluation, subject.classes
    low, high = evaluation.auroc_interval
    found = f"Area under the ROC curve: {evaluation.auroc:.2%} (95% interval {low:.2%} to {high:.2%})."
    curve = metrics.roc_curve(subject.logits, subject.test.labels.cpu())
    counts = evaluation.confusion
    point = counts[0][1] / sum(counts[0]), counts[1][1] / sum(counts[1])
    title = f"ROC curve of {second} against {first}; the dot is where the more probable class is predicted"
    return drawn("roc", title, found, class_figures.roc(*curve, point, first, second))


def _reliability(subject: Subject) -> Plot:
    evaluation = subject.evaluation
    confidence = subject.logits.double().softmax(1).max(1).values.mean().item()
    found = (
        f"Mean confidence {confidence:.1%}, accuracy {evaluation.accuracy:.1%}; calibration error {evaluation.ece:.4f}."
    )
    title = (
        "Calibration: accuracy at each confidence, in bins with at least 0.1% of the images. Below the dotted line, the"
        " model is overconfident"
    )
    return drawn("reliability", title, found, class_figures.reliability(subject.logits, subject.test.labels.cpu()))


def _classes(subject: Subject) -> Table:
    """All classes in their order; if there are many, those with the lowest recall first."""
    evaluation, title = subject.evaluation, "Classes"
    training = subject.train.labels.cpu().bincount(minlength=len(subject.classes)).tolist()
    trained = [f"{count:,}" for count in training]
    entries = list(zip(evaluation.per_class.items(), trained, strict=True))
    if len(entries) > MANY_CLASSES:
        title = "Classes, the lowest recall first"
        entries.sort(key=lambda entry: (math.isnan(entry[0][1].recall), entry[0][1].recall, -entry[0][1].num_images))
    whole = evaluation.part != "test"  # then these images are not of the dataset that the model was trained on
    rows = [
        [
            shown(name),
            *([] if whole else [count]),
            f"{each.num_images:,}",
            *(_percent(each.recall), _interval(each.recall_interval)),
            *(_percent(each.precision), _interval(each.precision_interval)),
            _percent(each.f1),
        ]
        for (name, each), count in entries
    ]
    columns = ["class", *([] if whole else ["training images"]), f"{subject.kind}s", "recall", "95% interval"]
    return Table(title, [*columns, "precision", "95% interval", "F1"], rows)


def _pairs(subject: Subject) -> Table:
    evaluation = subject.evaluation
    rows = [
        [shown(true), shown(taken), f"{count:,}", f"{count / evaluation.per_class[true].num_images:.1%}"]
        for true, taken, count in evaluation.confused_pairs(_PAIRS)
    ]
    columns = ["true class", "predicted class", f"{subject.kind}s", "of the true class"]
    return Table("The most frequent mistakes", columns, rows, texts=2)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _interval(ends: tuple[float, float]) -> str:
    return "-" if math.isnan(ends[0]) else f"{100 * ends[0]:.1f}-{ends[1]:.1%}"
