"""Metrics of a classifier, from logits and labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is that of their label (top-1), in 0..1."""
    _check(logits, labels)
    return (logits.argmax(1) == labels).double().mean().item()


def per_class_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The accuracy among the images of each class: float64 (num_classes,) in 0..1, nan for a class without images."""
    confusion = confusion_matrix(logits, labels).double()
    return confusion.diagonal() / confusion.sum(1)


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """How often each class was taken for each: int64 (num_classes, num_classes), rows true, columns predicted."""
    _check(logits, labels)
    # Imported here: torchmetrics takes more than a second, and training needs only the accuracy.
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    # argmax here, so that ties fall as in ``accuracy``; torchmetrics wants two classes or more.
    num_classes = logits.shape[1]
    confusion = multiclass_confusion_matrix(logits.argmax(1), labels, num_classes=max(num_classes, 2))
    return confusion[:num_classes, :num_classes]


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """The mean negative log-probability of the labels, in nats: 0 is certainty, ln(num_classes) is ignorance."""
    _check(logits, labels)
    return F.cross_entropy(logits.double(), labels.long()).item()


def expected_calibration_error(logits: Tensor, labels: Tensor, num_bins: int = 15) -> float:
    """How far confidence is from accuracy, on average: 0 (calibrated) to 1.

    The confidence of an image is its largest softmax probability. Images are binned by it into bins of equal width;
    the error is the mean over images of |accuracy - mean confidence| of their bin (Guo et al., "On Calibration of
    Modern Neural Networks", 2017, arXiv:1706.04599, with 15 bins). A confidence on an edge counts in the bin above.
    """
    _check(logits, labels)
    from torchmetrics.functional.classification import multiclass_calibration_error

    # torchmetrics gives a confidence of exactly 1 a bin of its own, and takes anything above 1 for a logit. The
    # largest float32 below 1 (to which it casts) avoids both.
    probabilities = logits.double().softmax(1).float().clamp(max=1 - 2**-24)
    error = multiclass_calibration_error(probabilities, labels, num_classes=logits.shape[1], n_bins=num_bins)
    return error.item()


def _check(logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless these are logits and labels of the same images, at least one."""
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
