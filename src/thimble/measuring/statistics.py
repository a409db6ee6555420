"""Compute confidence intervals and significance tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor


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
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: expected a number above 0 and below 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = num_correct / num_images
    shrink = 1 + z * z / num_images
    centre = (share + z * z / (2 * num_images)) / shrink
    half_width = z / shrink * math.sqrt(share * (1 - share) / num_images + z * z / (4 * num_images**2))
    # If none or all are correct, the end is exactly 0 or 1; set it, because rounding would miss it slightly.
    low = 0.0 if num_correct == 0 else centre - half_width
    high = 1.0 if num_correct == num_images else centre + half_width
    return low, high


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
