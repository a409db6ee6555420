"""Compute a classifier's metrics: from logits (N, num_classes) and labels (N,), or from their confusion matrix.

A confusion matrix is int64 (num_classes, num_classes): the numbers of images by true class (rows) and predicted class
(columns).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The top-1 accuracy, in 0..1: the share of images whose predicted class is the label."""
    _check(logits, labels)
    return (logits.argmax(1) == labels).double().mean().item()


def per_class_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The accuracy on the images of each class: float64 (num_classes,) in 0..1, nan for a class without images."""
    confusion = confusion_matrix(logits, labels).double()
    return confusion.diagonal() / confusion.sum(1)


def top_accuracy(logits: Tensor, labels: Tensor, num_guesses: int) -> float:
    """The share of images, 0..1, whose label is among the ``num_guesses`` most probable classes."""
    _check(logits, labels)
    best = logits.topk(min(num_guesses, logits.shape[1]), 1).indices
    return (best == labels[:, None]).any(1).double().mean().item()


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Count images by true class (rows) and predicted class (columns): int64 (num_classes, num_classes)."""
    _check(logits, labels)
    # Imported here: torchmetrics takes more than a second, and training needs only the accuracy.
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    # argmax here, so that ties are decided as in ``accuracy``; torchmetrics requires at least two classes.
    num_classes = logits.shape[1]
    confusion = multiclass_confusion_matrix(logits.argmax(1), labels, num_classes=max(num_classes, 2))
    return confusion[:num_classes, :num_classes]


def recall(confusion: Tensor) -> Tensor:
    """The share of each true class's images that are predicted as it: float64 (num_classes,), nan without images."""
    return confusion.diagonal().double() / confusion.sum(1)


def precision(confusion: Tensor) -> Tensor:
    """The share of each class's predictions that are right: float64 (num_classes,), nan for a class never predicted."""
    return confusion.diagonal().double() / confusion.sum(0)


def f1(confusion: Tensor) -> Tensor:
    """The harmonic mean of precision and recall: float64 (num_classes,), nan for a class without images."""
    images = confusion.sum(1)
    score = 2.0 * confusion.diagonal().double() / (images + confusion.sum(0))
    return score.where(images > 0, torch.nan)


def balanced_accuracy(confusion: Tensor) -> float:
    """The mean recall of the classes that have images, in 0..1: each class counts the same, however many it has."""
    return recall(confusion).nanmean().item()


def macro_f1(confusion: Tensor) -> float:
    """The mean F1 of the classes that have images, in 0..1."""
    return f1(confusion).nanmean().item()


def auroc(logits: Tensor, labels: Tensor) -> float:
    """The area under the ROC curve of two classes, in 0..1; nan unless both have images.

    It is the probability that an image of the second class gets a higher score for that class than an image of the
    first; a tie counts half. Swapping the classes does not change it. The score is the difference of the logits, as
    probabilities near 1 would be rounded to ties.
    """
    score, positive = _score(logits, labels)
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if num_positive == 0 or num_negative == 0:
        return math.nan
    from scipy.stats import rankdata

    ranks = rankdata(score.numpy())[positive.numpy()].sum()
    return float((ranks - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def roc_curve(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The false and the true positive rate of the second of two classes at every threshold, from 0 to 1: float64."""
    score, positive = _score(logits, labels)
    order = score.argsort(descending=True)
    hits, last = positive[order].double().cumsum(0), torch.ones(len(order), dtype=torch.bool)
    last[:-1] = score[order].diff() != 0  # images with the same score pass a threshold together
    count, hits = torch.arange(1.0, len(order) + 1, dtype=torch.float64)[last], hits[last]
    start = torch.zeros(1, dtype=torch.float64)
    return torch.cat([start, (count - hits) / (~positive).sum()]), torch.cat([start, hits / positive.sum()])


def _score(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How much each image looks like the second of two classes, and whether it is of that class."""
    _check(logits, labels)
    if logits.shape[1] != 2:
        raise ValueError(f"logits {tuple(logits.shape)}: expected two classes")
    return (logits[:, 1].double() - logits[:, 0].double()).cpu(), labels.cpu() == 1


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """The mean negative log-probability of the labels, in nats: 0 if certain and right, ln(num_classes) if uniform."""
    _check(logits, labels)
    return F.cross_entropy(logits.double(), labels.long()).item()


def expected_calibration_error(logits: Tensor, labels: Tensor, num_bins: int = 15) -> float:
    """The expected calibration error: the mean difference between confidence and accuracy, 0 (calibrated) to 1.

    An image's confidence is its largest softmax probability. Images are sorted by confidence into bins of equal width;
    the error is the mean over images of |accuracy - mean confidence| of their bin (Guo et al., "On Calibration of
    Modern Neural Networks", 2017, arXiv:1706.04599, with 15 bins). A confidence on an edge belongs to the upper bin.
    """
    _check(logits, labels)
    from torchmetrics.functional.classification import multiclass_calibration_error

    # torchmetrics puts a confidence of exactly 1 into a separate bin, and treats values above 1 as logits. Clamping to
    # the largest float32 below 1 avoids both.
    probabilities = logits.double().softmax(1).float().clamp(max=1 - 2**-24)
    if logits.shape[1] == 1:  # always certain and right; torchmetrics requires at least two classes
        return 0.0
    error = multiclass_calibration_error(probabilities, labels, num_classes=logits.shape[1], n_bins=num_bins)
    return error.item()


def _check(logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless these are finite logits (N, num_classes) and integer labels (N,) in range, N >= 1."""
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(f"logits {logits.dtype} {tuple(logits.shape)}: expected floats (N, num_classes)")
    if labels.shape != logits.shape[:1]:
        raise ValueError(f"labels {tuple(labels.shape)}: expected ({len(logits)},), one for each row of logits")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels {labels.dtype}: expected whole numbers")
    if logits.numel() == 0:
        raise ValueError(f"logits {tuple(logits.shape)}: expected at least one image and one class")
    low, high = labels.aminmax()
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(f"labels from {low} to {high}: expected 0..{logits.shape[1] - 1}")
    if not logits.isfinite().all():
        raise ValueError("logits: found nan or infinity, expected finite numbers")
