"""The metrics against plain loops over numpy arrays, hand-worked values and malformed input."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from thimble.measuring import metrics

OF_LOGITS = [
    metrics.accuracy,
    metrics.per_class_accuracy,
    metrics.confusion_matrix,
    functools.partial(metrics.top_accuracy, num_guesses=2),
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


def test_precision_recall_and_f1_against_plain_loops(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    predicted, confusion = logits.argmax(1), metrics.confusion_matrix(*batch)
    recalls, precisions, scores = [], [], []
    for number in range(7):
        right = sum(1 for true, taken in zip(labels, predicted, strict=True) if true == taken == number)
        recalls.append(right / sum(1 for true in labels if true == number))
        precisions.append(right / sum(1 for taken in predicted if taken == number))
        scores.append(2 * precisions[-1] * recalls[-1] / (precisions[-1] + recalls[-1]))
    assert metrics.recall(confusion).tolist() == pytest.approx(recalls)
    assert metrics.precision(confusion).tolist() == pytest.approx(precisions)
    assert metrics.f1(confusion).tolist() == pytest.approx(scores)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(np.mean(recalls))
    assert metrics.macro_f1(confusion) == pytest.approx(np.mean(scores))


def test_classes_without_images_or_predictions() -> None:
    """The third class has no images; the second is never predicted; the third is, once."""
    confusion = torch.tensor([[3, 0, 1], [2, 0, 0], [0, 0, 0]])
    assert metrics.recall(confusion).tolist() == pytest.approx([0.75, 0.0, math.nan], nan_ok=True)
    assert metrics.precision(confusion).tolist() == pytest.approx([0.6, math.nan, 0.0], nan_ok=True)
    assert metrics.f1(confusion).tolist() == pytest.approx([6 / 9, 0.0, math.nan], nan_ok=True)
    assert metrics.balanced_accuracy(confusion) == 0.375
    assert metrics.macro_f1(confusion) == pytest.approx(3 / 9)


def test_top_accuracy_counts_the_first_guesses(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    ranks = [(row > row[label]).sum().item() for row, label in zip(logits, labels, strict=True)]
    for guesses in (1, 3, 7, 99):
        expected = np.mean([rank < guesses for rank in ranks])
        assert metrics.top_accuracy(logits, labels, guesses) == pytest.approx(expected)


@pytest.fixture
def two() -> tuple[Tensor, Tensor]:
    """200 images of two classes, with many equal scores."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(2, (200,), generator=generator)
    score = (torch.randn(200, generator=generator) + labels).mul(2).round()
    return torch.stack([score.neg(), score], 1), labels


def test_auroc_is_the_share_of_pairs_in_order(two: tuple[Tensor, Tensor]) -> None:
    logits, labels = two
    score = logits[:, 1] - logits[:, 0]
    pairs = [(a, b) for a in score[labels == 1].tolist() for b in score[labels == 0].tolist()]
    expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert 0.6 < expected < 0.9
    assert metrics.auroc(logits, labels) == pytest.approx(expected)
    assert metrics.auroc(logits.flip(1), 1 - labels) == pytest.approx(expected)  # the classes swapped
    assert metrics.auroc(logits.flip(1), labels) == pytest.approx(1 - expected)


def test_the_area_under_the_roc_curve_is_the_auroc(two: tuple[Tensor, Tensor]) -> None:
    false, true = metrics.roc_curve(*two)
    assert [rates[end].item() for rates in (false, true) for end in (0, -1)] == [0, 1, 0, 1]
    assert (false.diff() >= 0).all()
    assert (true.diff() >= 0).all()
    assert torch.trapezoid(true, false).item() == pytest.approx(metrics.auroc(*two))


def test_auroc_of_extremes() -> None:
    huge = torch.tensor([[500.0, -500.0], [100.0, -100.0], [-300.0, 300.0], [-200.0, 200.0]])
    assert metrics.auroc(huge, torch.tensor([0, 0, 1, 1])) == 1.0
    assert metrics.auroc(huge, torch.tensor([1, 1, 0, 0])) == 0.0
    # The probabilities of the last two are both 1 in float64; the logits still tell them apart.
    assert metrics.auroc(huge, torch.tensor([0, 0, 1, 0])) == 1.0
    assert math.isnan(metrics.auroc(huge, torch.zeros(4, dtype=torch.int64)))
    with pytest.raises(ValueError, match="expected two classes"):
        metrics.auroc(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))


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
