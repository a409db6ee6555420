"""Splits, subsets and normalisation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from thimble.data.dataset import ImageDataset, normalize
from thimble.data.sources import SOURCES, load_dataset
from thimble.data.split import split
from thimble.errors import UserError


def numbered(labels: torch.Tensor) -> ImageDataset:
    """Images that carry their own index in their first two pixels."""
    images = torch.zeros((len(labels), 3, 2, 2), dtype=torch.uint8)
    index = torch.arange(len(labels))
    images[:, 0, 0, 0] = (index // 256).to(torch.uint8)
    images[:, 0, 0, 1] = (index % 256).to(torch.uint8)
    return ImageDataset("numbered", images, labels, tuple("abcdefghij"), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def indices(dataset: ImageDataset) -> list[int]:
    images = dataset.images.long()
    return (images[:, 0, 0, 0] * 256 + images[:, 0, 0, 1]).tolist()


@pytest.fixture
def thousand() -> ImageDataset:
    return numbered(torch.arange(1000) * 7 % 10)


def test_split_parts_are_disjoint_whole_and_in_order(thousand: ImageDataset) -> None:
    train, validation = split(thousand, 200)
    assert validation is not None
    assert sorted(indices(train) + indices(validation)) == list(range(1000))
    assert indices(train) == sorted(indices(train))
    assert indices(validation) == sorted(indices(validation))
    assert validation.labels.tolist() == [index * 7 % 10 for index in indices(validation)]


def test_split_takes_each_class_in_proportion(thousand: ImageDataset) -> None:
    _, validation = split(thousand, 200)
    assert validation is not None
    assert validation.labels.bincount().tolist() == [20] * 10
    _, uneven = split(thousand, 203)
    assert uneven is not None
    assert len(uneven) == 203
    assert sorted(uneven.labels.bincount().tolist()) == [20] * 7 + [21] * 3
    _, skewed = split(numbered((torch.arange(1000) >= 900).long()), 100)
    assert skewed is not None
    assert skewed.labels.bincount().tolist() == [90, 10]


def test_split_is_the_same_whatever_the_seed(thousand: ImageDataset) -> None:
    torch.manual_seed(1)
    _, first = split(thousand, 100)
    torch.manual_seed(2)
    _, second = split(thousand, 100)
    assert first is not None
    assert second is not None
    assert indices(first) == indices(second)
    # A golden value: a new NumPy or a changed line must not move images from one part to the other unnoticed.
    assert indices(first)[:8] == [4, 16, 21, 44, 65, 66, 67, 84]


def test_smaller_validation_set_is_part_of_a_larger(thousand: ImageDataset) -> None:
    _, small = split(thousand, 50)
    _, large = split(thousand, 300)
    assert small is not None
    assert large is not None
    assert set(indices(small)) < set(indices(large))


def test_split_is_not_the_first_images_of_each_class(thousand: ImageDataset) -> None:
    _, validation = split(thousand, 100)
    assert validation is not None
    assert max(indices(validation)) > 800


def test_split_of_none(thousand: ImageDataset) -> None:
    train, validation = split(thousand, 0)
    assert train is thousand
    assert validation is None


@pytest.mark.parametrize("validation", [-1, 1000, 5000])
def test_split_of_impossible_sizes(thousand: ImageDataset, validation: int) -> None:
    with pytest.raises(UserError, match=rf"--validation {validation}: expected 0 to 999") as caught:
        split(thousand, validation)
    assert "\n" not in str(caught.value)


def test_subset_keeps_constants_and_order(thousand: ImageDataset) -> None:
    subset = thousand.subset(torch.tensor([5, 3, 3]))
    assert indices(subset) == [5, 3, 3]
    assert len(subset) == 3
    assert (subset.name, subset.classes, subset.mean) == (thousand.name, thousand.classes, thousand.mean)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_dataset_refuses_what_does_not_fit(images: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(UserError, match="expected"):
        ImageDataset("x", images, labels, ("a",), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "a" * 101},
        {"name": None},
        {"images": torch.zeros(2, 3, 0, 4, dtype=torch.uint8)},
        {"labels": torch.tensor([0, 2])},
        {"labels": torch.tensor([-1, 0])},
        {"classes": ()},
        {"classes": ("a", "a")},
        {"classes": (1, 2)},
        {"mean": (0.5,)},
        {"mean": (float("nan"),) * 3},
        {"std": (0.0, 0.2, 0.2)},
    ],
)
def test_dataset_refuses_what_training_would_stumble_over(changes: dict[str, Any]) -> None:
    images, labels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
    sound = ImageDataset("x", images, labels, ("a", "b"), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    with pytest.raises(UserError, match="expected"):
        dataclasses.replace(sound, **changes)


def test_dataset_takes_lists_and_arrays_of_constants() -> None:
    images, labels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
    mean, std = np.array([0.5, 0.5, 0.5]), torch.tensor([0.25, 0.25, 0.25])
    found = ImageDataset("x", images, labels, ["a", "b"], mean, std)  # type: ignore[arg-type]
    assert (found.classes, found.mean, found.std) == (("a", "b"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_normalize_is_the_formula() -> None:
    images = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    result = normalize(images, mean, std)
    expected = (images.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected.float(), rtol=1e-5, atol=1e-5)


def test_normalize_keeps_the_memory_format_and_the_images() -> None:
    images = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8)
    before = images.clone()
    last = normalize(images.to(memory_format=torch.channels_last), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    first = normalize(images, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert first.is_contiguous()
    assert torch.equal(first, last)
    assert torch.equal(images, before)


def test_load_dataset_refuses_unknown_names() -> None:
    with pytest.raises(UserError, match="--data cifar11 is neither a dataset's name nor a path: expected a folder of"):
        load_dataset("cifar11", "train")
    with pytest.raises(UserError, match="unknown part 'validation'"):
        load_dataset("shapes10", "validation")  # type: ignore[arg-type]
    assert list(SOURCES)[:2] == ["cifar10", "shapes10"]


def test_a_path_too_long_for_the_file_system_is_refused() -> None:
    with pytest.raises(UserError, match="neither a dataset's name nor a path"):
        load_dataset("x" * 5000, "train")
