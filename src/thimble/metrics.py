"""How good logits are against labels: accuracy, its uncertainty, confusion, likelihood and calibration.

Every function of logits takes logits, float (N, num_classes), finite, and labels, integer (N,) in 0..num_classes - 1,
on one device, and raises ValueError for anything else, an empty batch included: a mean over nothing is no result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

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


def wilson_interval(num_correct: int, num_images: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval that holds the true accuracy with the given confidence, from a count of correct answers.

    It covers the chance of the draw of test images, not that of the training. Unlike accuracy +- 1.96 standard
    errors it stays within 0..1 and has a width even at 0 or all correct (Wilson, "Probable Inference, the Law of
    Succession, and Statistical Inference", JASA 22, 1927).

    Args:
        num_correct: images answered right, 0..num_images.
        num_images: images asked, at least 1.
        confidence: above 0, below 1.

    Returns:
        The lower and the upper end, in 0..1.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 <= num_correct <= num_images or num_images < 1:
        raise ValueError(f"{num_correct} correct of {num_images} images: expected 0 <= correct <= images, images >= 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: expected a number above 0 and below 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = num_correct / num_images
    shrink = 1 + z * z / num_images
    centre = (share + z * z / (2 * num_images)) / shrink
    half_width = z / shrink * math.sqrt(share * (1 - share) / num_images + z * z / (4 * num_images**2))
    # The ends at 0 and at all correct are exactly 0 and 1; rounding would put them a hair off.
    low = 0.0 if num_correct == 0 else centre - half_width
    high = 1.0 if num_correct == num_images else centre + half_width
    return low, high


def mcnemar(correct_a: Tensor, correct_b: Tensor) -> tuple[int, int, float]:
    """Whether two models, asked the same images, err equally often but for chance: McNemar's exact test.

    Only the images that one of the two has right count: were the models equally good, each of these would fall to
    either with probability 1/2, so that their split is binomial (Q. McNemar, "Note on the Sampling Error of the
    Difference Between Correlated Proportions or Percentages", Psychometrika 12, 1947; for classifiers: T. Dietterich,
    "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms", Neural Computation
    10, 1998). It tells about these two sets of weights, not about how they were trained.

    Args:
        correct_a: bool (N,), N at least 1: which images the one model has right.
        correct_b: bool (N,): which the other has, in the same order.

    Returns:
        How many images only a has right, how many only b, and the two-sided p-value in 0..1; 1 if they never disagree.

    Raises:
        ValueError: they are of another type or shape, or empty.
    """
    for correct in (correct_a, correct_b):
        if correct.dtype != torch.bool or correct.ndim != 1 or len(correct) == 0 or len(correct) != len(correct_a):
            raise ValueError(
                f"correct answers {correct.dtype} {tuple(correct.shape)}: expected bool (N,), N alike, >= 1"
            )
    from scipy.stats import binomtest  # takes half a second, and training needs only the accuracy

    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return only_a, only_b, p_value


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for having tested so many at once, so that a first false alarm stays as rare as for one.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none falls below one before it or exceeds 1
    (S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: in 0..1; there may be none.

    Returns:
        The corrected ones, in the order given, in 0..1.

    Raises:
        ValueError: one is not in 0..1.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not 0 <= p_values[index] <= 1:
            raise ValueError(f"p-value {p_values[index]}: expected a number in 0..1")
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


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
