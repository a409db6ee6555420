"""The built-in drawings: what their docstring promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from thimble.data.shapes10 import CLASSES, MEAN, SHAPES, STD, shapes10
from thimble.data.sources import load_dataset


@pytest.mark.slow
def test_default_sets_and_their_constants() -> None:
    train = load_dataset("shapes10", "train")
    assert train.images.shape == (20_000, 3, 32, 32)
    assert train.labels.bincount().tolist() == [2_000] * 10
    # From histograms: exact, and lighter than 61 million floats.
    counts = np.stack([np.bincount(train.images[:, channel].numpy().ravel(), minlength=256) for channel in range(3)])
    levels = np.arange(256) / 255
    mean = (counts * levels).sum(1) / counts.sum(1)
    std = np.sqrt((counts * levels**2).sum(1) / counts.sum(1) - mean**2)
    assert mean == pytest.approx(MEAN, abs=1e-3)
    assert std == pytest.approx(STD, abs=1e-3)
    assert (train.mean, train.std, train.name, train.classes) == (MEAN, STD, "shapes10", CLASSES)

    test = load_dataset("shapes10", "test")
    assert test.labels.bincount().tolist() == [200] * 10
    seen = {image.tobytes() for image in train.images.numpy()}
    assert len(seen) == 20_000
    assert not any(image.tobytes() in seen for image in test.images.numpy())


def test_same_seed_same_images() -> None:
    first, second, other = shapes10(120, seed=3), shapes10(120, seed=3), shapes10(120, seed=4)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.images, other.images)


def test_drawing_leaves_the_callers_randomness_alone() -> None:
    np.random.seed(0)
    torch.manual_seed(0)
    expected = np.random.rand(), torch.rand(1).item()
    np.random.seed(0)
    torch.manual_seed(0)
    shapes10(10)
    assert (np.random.rand(), torch.rand(1).item()) == expected


@pytest.mark.parametrize("size", [1, 7, 199, 200, 201])
def test_smaller_set_begins_the_larger(size: int) -> None:
    small, large = shapes10(size), shapes10(450)
    assert len(small) == size
    assert torch.equal(small.images, large.images[:size])
    assert torch.equal(small.labels, large.labels[:size])


def test_ten_in_a_row_are_ten_classes() -> None:
    labels = shapes10(430).labels.view(-1, 10)
    assert all(sorted(row) == list(range(10)) for row in labels.tolist())
    assert len({tuple(row) for row in labels.tolist()}) > 30


@pytest.mark.parametrize(("num_images", "seed"), [(0, 0), (-5, 0), (10, -1), (10, 2**32)])
def test_impossible_arguments(num_images: int, seed: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1 image"):
        shapes10(num_images, seed)


@pytest.mark.parametrize("name", CLASSES)
def test_shapes_are_of_a_size_and_inside_the_unit_circle(name: str) -> None:
    axis = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    inside = SHAPES[name](x, y) < 0
    area = inside.mean() * 9
    assert 0.7 < area < 2.5  # the unit circle has 3.14: size alone does not tell the class
    assert np.hypot(x, y)[inside].max() < 1.15
    assert math.hypot(x[inside].mean(), y[inside].mean()) < 0.25


def test_shapes_differ_from_each_other() -> None:
    axis = np.linspace(-1.2, 1.2, 121, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    masks = [shape(x, y) < 0 for shape in SHAPES.values()]
    for first in range(10):
        for second in range(first):
            union = (masks[first] | masks[second]).sum()
            assert (masks[first] & masks[second]).sum() / union < 0.95


@pytest.mark.slow
def test_colours_and_places_do_not_tell_the_class() -> None:
    """A linear classifier on the pixels themselves stays near chance: the shape has to be seen."""
    train, test = shapes10(3_000, seed=10), shapes10(1_000, seed=11)
    features = train.images.double().flatten(1) / 255 - 0.5
    targets = torch.nn.functional.one_hot(train.labels, 10).double()
    ridge = features.T @ features + 300 * torch.eye(features.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(ridge, features.T @ targets)
    guesses = ((test.images.double().flatten(1) / 255 - 0.5) @ weights).argmax(1)
    assert (guesses == test.labels).double().mean() < 0.2
