"""The classes' weights in the loss."""

from __future__ import annotations

import pytest
import torch

from thimble.training.tricks.class_weights import Weights, class_weights

LABELS = torch.tensor([0] * 90 + [1] * 9 + [3])


def test_balanced_classes_have_the_same_share_of_the_loss() -> None:
    weights = class_weights(LABELS, 4, "balanced")
    assert weights is not None
    shares = [float(weights[label] * LABELS.eq(label).sum()) for label in (0, 1, 3)]
    assert shares == pytest.approx([100 / 3] * 3)
    assert weights[2] == 0  # a class without images


@pytest.mark.parametrize("kind", ["balanced", "sqrt"])
def test_the_mean_weight_of_the_images_is_one(kind: Weights) -> None:
    weights = class_weights(LABELS, 4, kind)
    assert weights is not None
    assert weights.dtype == torch.float32
    assert float(weights[LABELS].mean()) == pytest.approx(1.0)


def test_sqrt_is_half_way() -> None:
    half, whole = class_weights(LABELS, 4, "sqrt"), class_weights(LABELS, 4, "balanced")
    assert half is not None
    assert whole is not None
    assert float(half[1] / half[0]) == pytest.approx(float(whole[1] / whole[0]) ** 0.5)


def test_without_weights_there_are_none() -> None:
    assert class_weights(LABELS, 4, "none") is None
