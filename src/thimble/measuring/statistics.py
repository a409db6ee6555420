"""Compute confidence intervals and significance tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor

from . import metrics


def wilson_interval(num_correct: int, num_images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's confidence interval for an accuracy.

    It covers the chance in the choice of test images, not the chance in training. Unlike accuracy +- 1.96 standard
    errors, it stays within 0..1, and has a width even if none or all are correct (Wilson, "Probable Inference, the Law
    of Succession, and Statistical Inference", JASA 22, 1927).

    Args:
        num_correct: correctly classified images, 0..num_images.
        num_images: all images, at least 1.
        confidence: the probability that the interval holds the true accuracy, above 0, below 1.

    Returns:
        the lower and the upper end, in 0..1.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 <= num_correct <= num_images or num_images < 1:
        raise ValueError(f"{num_correct} correct of {num_images} images: expected 0 <= correct <= images, images >= 1")
    return _wilson(num_correct / num_images, num_images, _quantile(confidence))


def balanced_accuracy_interval(confusion: Tensor, confidence: float = 0.95) -> tuple[float, float]:
    """Compute a confidence interval for the balanced accuracy.

    Like Wilson's, it stays within 0..1, has a width even if all images are right, and covers only the chance in the
    choice of test images, whose number in each class is taken as given. The variance is the sum of the recalls'
    variances, over images to which 4 made-up ones were added, 4 / C in each of C classes, half of them right (R. Price
    and D. Bonett, "An Improved Confidence Interval for a Linear Function of Binomial Proportions", Computational
    Statistics & Data Analysis 45, 2004). Wilson's interval is then that of as many images as give an accuracy this
    variance (E. Korn and B. Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive
    Counts", Survey Methodology 24, 1998). Resampling the images instead (bootstrap) would see no chance in a class
    whose few images are all right, and give too narrow an interval.

    Args:
        confusion: int64 (num_classes, num_classes), true classes in rows; at least one image.
        confidence: the probability that the interval holds the true value, above 0, below 1.

    Returns:
        the lower and the upper end, in 0..1.

    Raises:
        ValueError: ``confidence`` is out of its range.
    """
    table = _Table(confusion)
    gradient = torch.zeros_like(table.shares)
    gradient[table.own] = 1 / len(table.classes)
    smoothed = table.shares[table.own].mean().item()
    return table.interval(metrics.balanced_accuracy(confusion), smoothed, gradient, confidence)


def macro_f1_interval(confusion: Tensor, confidence: float = 0.95) -> tuple[float, float]:
    """Compute a confidence interval for the macro F1.

    As in ``balanced_accuracy_interval``; the variance is that of the F1's first-order approximation, the delta method
    (K. Takahashi et al., "Confidence Interval for Micro-Averaged F1 and Macro-Averaged F1 Scores", Applied Intelligence
    52, 2022).

    Args, Returns, Raises: see ``balanced_accuracy_interval``.
    """
    table = _Table(confusion)
    images, right = table.num_images, table.num_images * table.shares[table.own]
    total = images + (images[:, None] * table.shares).sum(0)[table.classes]
    gradient = torch.zeros_like(table.shares)
    gradient[:, table.classes] = -2 * images[:, None] * right / total**2
    gradient[table.own] += 2 * images / total
    smoothed = (2 * right / total).mean().item()
    return table.interval(metrics.macro_f1(confusion), smoothed, gradient / len(images), confidence)


def auroc_interval(auroc: float, num_first: int, num_second: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute a confidence interval for the area under a ROC curve.

    Its ends are the areas from which the found one lies as many standard errors as the confidence asks for. So it stays
    within 0..1, and has a width even if the area is 1 (R. Newcombe, "Confidence Intervals for an Effect Size Measure
    Based on the Mann-Whitney Statistic. Part 2", Statistics in Medicine 25, 2006, method 5; the standard error is that
    of J. Hanley and B. McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 143, 1982, with both
    numbers of images replaced by their mean).

    Args:
        auroc: the area, in 0..1, or nan.
        num_first, num_second: the images of each class.
        confidence: the probability that the interval holds the true area, above 0, below 1.

    Returns:
        the lower and the upper end, in 0..1; nan if the area is nan.

    Raises:
        ValueError: ``confidence`` is out of its range.
    """
    z, others = _quantile(confidence), (num_first + num_second) / 2 - 1
    if math.isnan(auroc):
        return math.nan, math.nan

    def end(area: float, limit: float) -> float:
        for _ in range(60):  # halve the distance between an area that is near enough and one that is not
            middle = (area + limit) / 2
            spread = 1 + others * (1 - middle) / (2 - middle) + others * middle / (1 + middle)
            variance = middle * (1 - middle) * spread / (num_first * num_second)
            if (auroc - middle) ** 2 < z * z * variance:
                area = middle
            else:
                limit = middle
        return area

    return end(auroc, 0.0), end(auroc, 1.0)


class _Table:
    """The rows of a confusion matrix that have images, as shares of each class, with the made-up images.

    Attributes:
        classes: int64 (C,): the classes that have images.
        num_images: float64 (C,): their numbers of images.
        shares: float64 (C, num_classes): the share of each class's images that is predicted as each class.
        own: the indices of the right predictions in ``shares``.
    """

    def __init__(self, confusion: Tensor) -> None:
        self.classes = confusion.sum(1).nonzero().flatten()
        counts = confusion[self.classes].double()
        self.num_images = counts.sum(1)
        self.own = (torch.arange(len(self.classes)), self.classes)
        half = 2 / len(self.classes)
        right = counts[self.own] + half
        counts = counts + half / max(1, counts.shape[1] - 1)
        counts[self.own] = right
        self.shares = counts / counts.sum(1, keepdim=True)

    def interval(self, value: float, smoothed: float, gradient: Tensor, confidence: float) -> tuple[float, float]:
        """The interval of a mean over classes.

        Args:
            value: the mean, in 0..1.
            smoothed: the same with the made-up images.
            gradient: float64 (C, num_classes): by how much each share changes it.
            confidence: as for the callers.
        """
        spread = (self.shares * gradient**2).sum(1) - (self.shares * gradient).sum(1) ** 2
        # n - 1 makes the variance of many small classes unbiased; from one image nothing is known of it.
        variance = (spread / (self.num_images - 1).clamp_min(0.5)).sum().item()
        size = smoothed * (1 - smoothed) / variance if variance > 0 else self.num_images.sum().item()
        return _wilson(value, size, _quantile(confidence))


def _wilson(share: float, size: float, z: float) -> tuple[float, float]:
    shrink = 1 + z * z / size
    centre = (share + z * z / (2 * size)) / shrink
    half_width = z / shrink * math.sqrt(share * (1 - share) / size + z * z / (4 * size**2))
    # If none or all are correct, the end is exactly 0 or 1; set it, because rounding would miss it slightly.
    low = 0.0 if share <= 0 else centre - half_width
    high = 1.0 if share >= 1 else centre + half_width
    return low, high


def _quantile(confidence: float) -> float:
    """How many standard errors a normal variable is at most away, with this probability."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: expected a number above 0 and below 1")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def mcnemar(correct_a: Tensor, correct_b: Tensor) -> tuple[int, int, float]:
    """Test whether two models have different accuracies on the same images, with McNemar's exact test.

    The test uses only the images that exactly one model classifies correctly. If both models were equally good, each of
    these images would belong to either model with probability 1/2, so their split would be binomial (Q. McNemar, "Note
    on the Sampling Error of the Difference Between Correlated Proportions or Percentages", Psychometrika 12, 1947; for
    classifiers: T. Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning
    Algorithms", Neural Computation 10, 1998). It compares these two sets of weights, not how they were trained.

    Args:
        correct_a: bool (N,), N at least 1: whether model a classifies each image correctly.
        correct_b: bool (N,): the same for model b, with the images in the same order.

    Returns:
        the number of images that only a has right, the number that only b has right, and the two-sided p-value in 0..1,
        which is 1 if there are no such images.

    Raises:
        ValueError: the tensors have another type or shape, or are empty.
    """
    for correct in (correct_a, correct_b):
        if correct.dtype != torch.bool or correct.ndim != 1 or len(correct) == 0 or len(correct) != len(correct_a):
            raise ValueError(
                f"correct is {correct.dtype} {tuple(correct.shape)}: expected bool (N,), the same N >= 1 for both"
            )
    from scipy.stats import binomtest  # takes half a second, and training needs only the accuracy

    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return only_a, only_b, p_value


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple tests, so that any false alarm is no more likely than with a single test.

    The smallest of m p-values is multiplied by m, the next by m - 1 and so on; each is at least the one before, and at
    most 1 (S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6,
    1979).

    Args:
        p_values: in 0..1; may be empty.

    Returns:
        the corrected p-values, in the given order, in 0..1.

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
