"""The metrics against plain loops over numpy arrays, hand-worked values and malformed input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from thimble.measuring import metrics, statistics

OF_LOGITS = [
    metrics.accuracy,
    metrics.per_class_accuracy,
    metrics.confusion_matrix,
    metrics.negative_log_likelihood,
    metrics.expected_calibration_error,
]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """300 images of 7 classes, right about half of the time and with every degree of confidence."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(7, (300,), generator=generator)
    noise = torch.randn(300, 7, generator=generator) * torch.linspace(0.1, 4, 300)[:, None]
    return noise + 2.0 * torch.eye(7)[labels], labels


def test_against_plain_loops(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    confusion = np.zeros((7, 7), dtype=int)
    nll = 0.0
    confidences, hits = [], []
    for row, label in zip(logits.double().numpy(), labels.tolist(), strict=True):
        probabilities = np.exp(row) / np.exp(row).sum()
        confusion[label, row.argmax()] += 1
        nll -= math.log(probabilities[label]) / 300
        confidences.append(probabilities.max())
        hits.append(row.argmax() == label)
    ece = 0.0
    for low, high in zip(np.arange(15) / 15, np.arange(1, 16) / 15, strict=True):
        inside = [i for i, confidence in enumerate(confidences) if low < confidence <= high]
        if inside:
            gap = np.mean([hits[i] for i in inside]) - np.mean([confidences[i] for i in inside])
            ece += len(inside) / 300 * abs(gap)

    assert 0.3 < metrics.accuracy(logits, labels) < 0.9
    assert metrics.accuracy(logits, labels) == pytest.approx(np.mean(hits), abs=1e-12)
    assert metrics.confusion_matrix(logits, labels).dtype == torch.int64
    assert metrics.confusion_matrix(logits, labels).tolist() == confusion.tolist()
    assert metrics.per_class_accuracy(logits, labels).tolist() == pytest.approx(
        [confusion[c, c] / confusion[c].sum() for c in range(7)]
    )
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(nll, rel=1e-9)
    assert ece > 0.02
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(ece, abs=1e-5)


def test_rows_of_the_confusion_are_true_and_columns_predicted() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.0]] * 3)
    assert metrics.confusion_matrix(logits, torch.tensor([0, 0, 1])).tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_a_class_without_images_has_no_accuracy() -> None:
    result = metrics.per_class_accuracy(torch.eye(3)[[0, 2]], torch.tensor([0, 0])).tolist()
    assert result[0] == 0.5
    assert math.isnan(result[1])
    assert math.isnan(result[2])


def test_one_class_is_always_right() -> None:
    logits, labels = torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)
    assert metrics.confusion_matrix(logits, labels).tolist() == [[4]]
    assert metrics.accuracy(logits, labels) == 1.0
    assert metrics.expected_calibration_error(logits, labels) == 0.0


def test_ties_fall_to_the_first_class_in_every_metric() -> None:
    logits, labels = torch.zeros(5, 3), torch.tensor([0, 0, 1, 1, 2])
    assert metrics.accuracy(logits, labels) == 0.4
    assert metrics.confusion_matrix(logits, labels)[:, 0].tolist() == [2, 2, 1]


def test_ignorance_costs_the_log_of_the_classes_and_is_calibrated() -> None:
    logits, labels = torch.zeros(10, 10), torch.arange(10)
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(math.log(10))
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(0.0, abs=1e-6)


def test_calibration_of_certainty() -> None:
    """Softmax gives exactly 1 here: it must not fall out of the bins, nor be taken for a logit."""
    logits = 1000 * torch.eye(2)[[0, 0, 0, 0]]
    assert metrics.expected_calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.25, abs=1e-6)
    # 0.95 and 1 share the last of 15 bins, where the misses of the one and the modesty of the other offset.
    modest = torch.tensor([[math.log(19.0), 0.0]])
    joint = metrics.expected_calibration_error(torch.cat([modest, logits[:1]]), torch.tensor([0, 1]))
    assert joint == pytest.approx(0.475, abs=1e-6)
    assert metrics.expected_calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == pytest.approx(
        1 - 1 / (1 + math.exp(-1)), abs=1e-6
    )


def test_huge_logits_do_not_overflow() -> None:
    assert metrics.negative_log_likelihood(torch.tensor([[1e30, -1e30]]), torch.tensor([0])) == 0.0


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


@pytest.mark.parametrize("metric", OF_LOGITS)
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64), r"labels \(5,\): expected \(4,\)"),
        (torch.zeros(4, 3), torch.zeros(4, 1, dtype=torch.int64), r"labels \(4, 1\): expected \(4,\)"),
        (torch.zeros(4), torch.zeros(4, dtype=torch.int64), "num_classes"),
        (torch.zeros(4, 3, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), "expected floats"),
        (torch.zeros(4, 3), torch.zeros(4), "expected whole numbers"),
        (torch.zeros(4, 3), torch.tensor([0, 1, 2, 3]), r"labels from 0 to 3: expected 0\.\.2"),
        (torch.zeros(4, 3), torch.tensor([0, 1, 2, -1]), "labels from -1"),
        (torch.full((4, 3), math.nan), torch.zeros(4, dtype=torch.int64), "nan or infinity"),
        (torch.full((4, 3), math.inf), torch.zeros(4, dtype=torch.int64), "nan or infinity"),
    ],
)
def test_malformed_input_is_refused(
    metric: Callable[[Tensor, Tensor], object], logits: Tensor, labels: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(logits, labels)


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
