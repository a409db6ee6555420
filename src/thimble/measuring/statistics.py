"""How sure a figure is: intervals and tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor


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
