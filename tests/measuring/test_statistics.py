"""Intervals and tests against hand-worked values, their definitions and simulations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from thimble.measuring import metrics, statistics

Interval = Callable[[Tensor], tuple[float, float]]
OF_CONFUSION = [
    (statistics.balanced_accuracy_interval, metrics.balanced_accuracy),
    (statistics.macro_f1_interval, metrics.macro_f1),
]


def test_wilson_interval_of_850_of_1000() -> None:
    """By hand: (0.85 + 0.0019207) / 1.0038415 +- 1.9524639 * sqrt(0.0001275 + 0.00000096036)."""
    assert statistics.wilson_interval(850, 1000) == pytest.approx((0.8265313, 0.8707899), abs=1e-7)


@pytest.mark.parametrize(("correct", "images"), [(1, 2), (9000, 10000), (3, 1000)])
def test_wilson_ends_are_1_96_standard_errors_from_the_share(correct: int, images: int) -> None:
    """Its definition: at each end p, the share found lies 1.96 standard errors of p away."""
    for end in statistics.wilson_interval(correct, images):
        distance = abs(correct / images - end) / math.sqrt(end * (1 - end) / images)
        assert distance == pytest.approx(1.959964, abs=1e-5)


def test_wilson_at_the_ends() -> None:
    low, high = statistics.wilson_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(0.277533, abs=1e-6)
    assert statistics.wilson_interval(10, 10) == pytest.approx((1 - high, 1.0))
    assert statistics.wilson_interval(10, 10)[1] == 1.0


@pytest.mark.parametrize(("correct", "images"), [(1, 0), (0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(correct: int, images: int) -> None:
    with pytest.raises(ValueError, match=f"{correct} correct of {images} images"):
        statistics.wilson_interval(correct, images)


def test_wilson_refuses_certainty() -> None:
    with pytest.raises(ValueError, match=r"confidence 1\.0"):
        statistics.wilson_interval(5, 10, confidence=1.0)


def test_balanced_accuracy_of_one_class_is_nearly_wilsons() -> None:
    """One class of 100 images, of which 90 are right; the variance is divided by 99."""
    low, high = statistics.balanced_accuracy_interval(torch.tensor([[90, 10], [0, 0]]))
    assert (low, high) == pytest.approx(statistics._wilson(0.9, 99.0, 1.959964), abs=1e-6)
    assert (low, high) == pytest.approx(statistics.wilson_interval(90, 100), abs=2e-3)


@pytest.mark.parametrize(("interval", "value"), OF_CONFUSION)
def test_equal_classes_have_wilsons_interval(interval: Interval, value: Callable[[Tensor], float]) -> None:
    """Ten classes of 100 images with the same recall: the balanced accuracy is the accuracy."""
    confusion = 10 * torch.eye(10, dtype=torch.int64) * 9 + torch.eye(10, dtype=torch.int64).roll(1, 1) * 10
    assert value(confusion) == pytest.approx(0.9)
    assert interval(confusion) == pytest.approx(statistics.wilson_interval(900, 1000), abs=2e-3)


@pytest.mark.parametrize(("interval", "value"), OF_CONFUSION)
def test_if_all_or_none_are_right_the_interval_has_a_width(
    interval: Interval, value: Callable[[Tensor], float]
) -> None:
    right = torch.diag(torch.tensor([30, 31, 29]))
    assert value(right) == 1.0
    low, high = interval(right)
    assert high == 1.0
    assert low == pytest.approx(statistics.wilson_interval(90, 90)[0], abs=0.01)
    wrong = right.roll(1, 1)
    assert value(wrong) == 0.0
    low, high = interval(wrong)
    assert low == 0.0
    assert 0.01 < high < 0.15
    assert interval(torch.tensor([[5]])) == pytest.approx((5 / (5 + 1.959964**2), 1.0))


@pytest.mark.parametrize(("interval", "value"), OF_CONFUSION)
@pytest.mark.parametrize("sizes", [[5, 500], [234, 390], [1, 13, 20, 40, 58], [3] * 120])
def test_the_intervals_hold_the_true_value_in_95_of_100_samples(
    interval: Interval, value: Callable[[Tensor], float], sizes: list[int]
) -> None:
    """Also with classes of few images, where resampling (bootstrap) holds it in 52 to 88 of 100."""
    random = np.random.default_rng(0)
    count = len(sizes)
    shares = random.dirichlet(np.full(count, 0.2), count) * (1 - np.eye(count)) + 1e-9
    recalls = np.linspace(0.8, 0.97, count)
    shares *= ((1 - recalls) / shares.sum(1))[:, None]
    np.fill_diagonal(shares, 0)
    shares[np.arange(count), np.arange(count)] = 1 - shares.sum(1)
    truth = value(torch.tensor(shares * np.asarray(sizes)[:, None] * 1e9).long())
    held = 0
    for _ in range(200):
        low, high = interval(torch.tensor(random.multinomial(sizes, shares)))
        held += low <= truth <= high
    assert held >= 180  # 190 are expected; fewer than 180 are, in one of 300 such tests


@pytest.mark.parametrize(("interval", "value"), OF_CONFUSION)
def test_the_variance_is_that_of_samples(interval: Interval, value: Callable[[Tensor], float]) -> None:
    """With many images, the half-width is 1.96 standard deviations of the figure over samples."""
    shares = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.0, 0.4, 0.6]])
    sizes, random = np.array([3000, 1000, 500]), np.random.default_rng(0)
    samples = [value(torch.tensor(random.multinomial(sizes, shares))) for _ in range(2000)]
    low, high = interval(torch.tensor((shares * sizes[:, None]).round()).long())
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(samples), rel=0.05)


def test_a_narrower_confidence_gives_a_narrower_interval() -> None:
    confusion = torch.tensor([[8, 2], [1, 9]])
    for interval in (statistics.balanced_accuracy_interval, statistics.macro_f1_interval):
        low, high = interval(confusion, 0.5)
        wide = interval(confusion)
        assert wide[0] < low < high < wide[1]
        with pytest.raises(ValueError, match="confidence 0"):
            interval(confusion, 0)


def test_the_ends_of_the_aurocs_interval_are_1_96_standard_errors_from_it() -> None:
    """Newcombe's definition, with his standard error."""
    for area, first, second in ((0.944, 234, 390), (0.7, 10, 300), (0.2, 40, 40)):
        ends = statistics.auroc_interval(area, first, second)
        assert ends[0] < area < ends[1]
        assert statistics.auroc_interval(area, second, first) == ends
        for end in ends:
            others = (first + second) / 2 - 1
            spread = 1 + others * (1 - end) / (2 - end) + others * end / (1 + end)
            error = math.sqrt(end * (1 - end) * spread / (first * second))
            assert abs(area - end) / error == pytest.approx(1.959964, abs=1e-5)


def test_the_aurocs_interval_at_the_ends() -> None:
    low, high = statistics.auroc_interval(1.0, 30, 30)
    assert 0.9 < low < 0.95
    assert high == 1.0
    assert statistics.auroc_interval(0.0, 30, 30) == pytest.approx((0.0, 1 - low))
    assert all(map(math.isnan, statistics.auroc_interval(math.nan, 0, 5)))
    with pytest.raises(ValueError, match="confidence 2"):
        statistics.auroc_interval(0.5, 5, 5, confidence=2)


def answers(only_a: int, only_b: int, both: int = 3, neither: int = 2) -> tuple[Tensor, Tensor]:
    """Which images two models have right, in so many images of each kind."""
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return torch.tensor(a), torch.tensor(b)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (1, 0, 1.0),  # 2 * 1/2
        (0, 5, 2 / 32),
        (1, 7, 2 * (1 + 8) / 256),
        (5, 15, 2 * (1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20),
        (4, 4, 1.0),
    ],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p_value: float) -> None:
    """Twice the binomial tail of the smaller count; images that both or neither have right do not matter."""
    a, b = answers(only_a, only_b)
    assert statistics.mcnemar(a, b) == pytest.approx((only_a, only_b, p_value), rel=1e-9)
    assert statistics.mcnemar(b, a) == pytest.approx((only_b, only_a, p_value), rel=1e-9)
    more = answers(only_a, only_b, both=500, neither=100)
    assert statistics.mcnemar(*more) == statistics.mcnemar(a, b)


def test_mcnemar_of_models_that_never_disagree() -> None:
    assert statistics.mcnemar(*answers(0, 0)) == (0, 0, 1.0)


def test_mcnemar_is_symmetric_and_a_probability() -> None:
    generator = torch.Generator().manual_seed(0)
    for number in range(1, 40):
        a, b = torch.rand(2, 7 * number, generator=generator) < 0.7
        only_a, only_b, p_value = statistics.mcnemar(a, b)
        assert 0 <= p_value <= 1
        assert statistics.mcnemar(b, a) == (only_b, only_a, p_value)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.bool)),
        (torch.zeros(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)),
        (torch.zeros(3, 1, dtype=torch.bool), torch.zeros(3, 1, dtype=torch.bool)),
        (torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.bool)),
        (torch.tensor(True), torch.tensor(True)),
    ],
)
def test_mcnemar_refuses_what_are_no_answers(a: Tensor, b: Tensor) -> None:
    with pytest.raises(ValueError, match="expected bool"):
        statistics.mcnemar(a, b)


def test_holm_by_hand() -> None:
    """0.01 by 4, 0.02 by 3, 0.022 by 2 (but not below 0.06), 0.9 by 1; the order is kept."""
    assert statistics.holm([0.02, 0.9, 0.01, 0.022]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert statistics.holm([0.3]) == [0.3]
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]
    assert statistics.holm([]) == []
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"expected a number in 0\.\.1"):
            statistics.holm([0.5, wrong])
