"""Rows of a mapped file: in all that training and measuring do with them, they are the tensor that they stand for."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from thimble.data.augment.augmenter import build_augmenter
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset, normalize
from thimble.data.rows import Rows, rows_of, unread
from thimble.data.split import split
from thimble.measuring.inference import infer
from thimble.models import build_model
from thimble.training.batches import EpochBatches

CHOSEN = torch.tensor([7, 0, 3, 3, 9, 1])


@pytest.fixture
def base(tmp_path: Path) -> Tensor:
    """Ten images of 4x5 pixels and 3 channels, mapped from a file."""
    images = torch.arange(10 * 3 * 4 * 5).remainder(251).to(torch.uint8)
    (tmp_path / "images").write_bytes(images.numpy().tobytes())
    mapped = torch.from_file(str(tmp_path / "images"), shared=False, size=len(images), dtype=torch.uint8)
    return mapped.view(10, 3, 4, 5)


@pytest.fixture
def rows(base: Tensor) -> Tensor:
    return rows_of(base, CHOSEN)


def in_memory(images: Tensor, labels: Tensor | None = None) -> ImageDataset:
    labels = torch.arange(len(images)) % 2 if labels is None else labels
    channels = images.shape[1]
    return ImageDataset("rows", images, labels, ("a", "b"), (0.5,) * channels, (0.25,) * channels)


def is_unread(images: Tensor) -> bool:
    return unread(images) is not None


class Watched(Rows):
    """Counts the rows that are read of it."""

    def __init__(self, base: Tensor, rows: Tensor) -> None:
        super().__init__(base, rows)
        self.num_read = 0

    def __getitem__(self, index: Any) -> Tensor:
        found = super().__getitem__(index)
        self.num_read += len(found) if found.ndim == self.ndim else 1
        return found


def test_its_shape_is_that_of_the_chosen_rows(rows: Tensor) -> None:
    assert is_unread(rows)
    assert rows.shape == (6, 3, 4, 5)
    assert (len(rows), rows.ndim, rows.dtype, rows.device.type) == (6, 4, torch.uint8, "cpu")
    assert rows.shape[1:] == (3, 4, 5)


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        np.int64(2),
        torch.tensor(4),
        slice(None),
        slice(1, 5, 2),
        slice(4, 100),
        slice(6, None),
        [2, 2, 0],
        torch.tensor([5, 0]),
        torch.tensor([-1, -6]),
        torch.tensor([], dtype=torch.int64),
        torch.tensor([True, False, True, False, False, True]),
        torch.zeros(6, dtype=torch.bool),
        torch.tensor([[0, 1], [2, 3]]),
        ...,
        None,
        (0, 1),
        (-1, slice(None), 2),
        (np.int64(2), 1, slice(1, 3)),
        (torch.tensor(4), ..., 0),
        (slice(None), 0),
        (slice(1, 4), slice(None), 2, slice(None, None, 2)),
        (slice(None), torch.tensor([2, 0])),
        (torch.tensor([1, 2]), torch.tensor([0, 2])),
        (torch.tensor([1, 2]), slice(None), 1),
        (torch.tensor([True, False, True, False, False, True]), 0, slice(2)),
        (..., 0),
        (None, 2),
        (slice(None), None),
        (),
    ],
    ids=str,
)
def test_every_index_is_that_of_a_tensor(base: Tensor, rows: Tensor, index: Any) -> None:
    expected = base[CHOSEN][index]
    found = rows[index]
    assert type(found) is Tensor
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


@pytest.mark.parametrize("index", [6, -7, torch.tensor([6]), torch.ones(5, dtype=torch.bool), (0, 3)], ids=str)
def test_an_index_out_of_range_is_an_error_as_of_a_tensor(base: Tensor, rows: Tensor, index: Any) -> None:
    for images in (base[CHOSEN], rows):
        with pytest.raises(IndexError):
            images[index]


def test_it_can_be_iterated(base: Tensor, rows: Tensor) -> None:
    assert [image.tolist() for image in rows] == base[CHOSEN].tolist()


def test_what_is_read_is_a_copy_so_that_no_one_writes_into_the_cache(base: Tensor, rows: Tensor) -> None:
    before = base.clone()
    rows[:].zero_()
    rows[torch.tensor([0, 1])].fill_(255)
    rows[1:3].zero_()
    assert torch.equal(base, before)


def test_a_choice_of_a_choice_reads_nothing(base: Tensor) -> None:
    watched = Watched(base, CHOSEN)
    data = in_memory(watched)  # type: ignore[arg-type]
    some = data.subset(torch.tensor([4, 2]))
    others = data.subset(torch.tensor([True, False, False, False, True, False]))
    none = data.subset(torch.tensor([], dtype=torch.int64))
    assert watched.num_read == 0
    assert all(is_unread(each.images) for each in (some, others, none))
    assert torch.equal(some.images[:], base[[9, 3]])
    assert torch.equal(others.images[:], base[[7, 9]])
    assert len(none.images) == 0


def test_a_dataset_its_parts_and_a_batch_read_only_what_they_need(base: Tensor) -> None:
    watched = Watched(base, torch.arange(10))
    data = in_memory(watched)  # type: ignore[arg-type]
    train, validation = split(data, 4)
    assert validation is not None
    assert (len(train), len(validation)) == (6, 4)
    assert is_unread(train.images)
    batches = EpochBatches(data, None, batch_size=3, seed=0, epoch=0)
    assert watched.num_read == 0
    images, labels = batches[0]
    assert watched.num_read == 3
    chosen = batches.indices(0)
    assert torch.equal(images, base[chosen])
    assert torch.equal(labels, chosen % 2)
    assert watched.to("cpu") is watched
    assert watched.num_read == 3


def test_a_dataset_of_rows_is_the_dataset_of_their_pixels(base: Tensor, rows: Tensor) -> None:
    mapped, loaded = in_memory(rows), in_memory(base[CHOSEN])
    assert mapped.checksum() == loaded.checksum()
    for indices in (torch.tensor([3, 0]), torch.tensor([True] * 2 + [False] * 4), torch.tensor([], dtype=torch.int64)):
        one, other = mapped.subset(indices), loaded.subset(indices)
        assert one.checksum() == other.checksum()
        assert torch.equal(one.labels, other.labels)
        assert one.numbers is not None
        assert other.numbers is not None
        assert torch.equal(one.numbers, other.numbers)
    twice = mapped.subset(torch.tensor([5, 4, 3])).subset(torch.tensor([2, 0]))
    assert torch.equal(twice.images[:], base[[3, 1]])


def test_functions_of_pytorch_read_it_whole(base: Tensor, rows: Tensor) -> None:
    expected = base[CHOSEN]
    assert torch.equal(rows, expected)
    assert torch.equal(torch.cat([rows, rows[:1]]), torch.cat([expected, expected[:1]]))
    assert torch.equal(torch.stack([rows, rows]), torch.stack([expected, expected]))
    assert [len(part) for part in torch.split(rows, 4)] == [4, 2]
    assert torch.equal(torch.add(expected, other=rows), expected + expected)
    assert torch.equal(normalize(rows, (0.5,) * 3, (0.25,) * 3), normalize(expected, (0.5,) * 3, (0.25,) * 3))


@pytest.mark.parametrize(
    "method",
    [
        lambda images: images.float(),
        lambda images: images.flatten(1),
        lambda images: images.permute(0, 2, 3, 1),
        lambda images: images.clone(),
        lambda images: images.contiguous(),
        lambda images: images.cpu(),
        lambda images: images.to(torch.float32),
        lambda images: images.to("cpu", memory_format=torch.channels_last),
        lambda images: images.double().mean((0, 2, 3)),
        lambda images: torch.from_numpy(images.numpy()),
    ],
)
def test_methods_of_a_tensor_read_it_whole(method: Callable[[Tensor], Tensor], base: Tensor, rows: Tensor) -> None:
    assert torch.equal(method(rows), method(base[CHOSEN]))


def test_an_attribute_that_no_tensor_has_is_an_error(rows: Tensor) -> None:
    with pytest.raises(AttributeError, match="pixels"):
        rows.pixels  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(AttributeError):
        rows.__array_interface__  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_it_can_be_pickled_and_copied(protocol: int, base: Tensor, rows: Tensor) -> None:
    for found in (pickle.loads(pickle.dumps(rows, protocol)), copy.copy(rows), copy.deepcopy(rows)):
        assert is_unread(found)
        assert torch.equal(found[:], base[CHOSEN])


@pytest.mark.slow
def test_workers_of_a_loader_get_the_same_batches(rows: Tensor) -> None:
    augmenter = build_augmenter(AugmentConfig(affine_probability=1.0), (0.5,) * 3)
    batches = EpochBatches(in_memory(rows), augmenter, batch_size=2, seed=3, epoch=1)
    alone, helped = (list(batches.loader(0, workers, pin_memory=False)) for workers in (0, 2))
    assert len(alone) == len(helped) == 3
    for (images, labels), (others, other_labels) in zip(alone, helped, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def test_a_choice_of_nothing(base: Tensor) -> None:
    nothing = rows_of(base, torch.tensor([], dtype=torch.int64))
    data = in_memory(nothing, torch.tensor([], dtype=torch.int64))
    assert nothing.shape == (0, 3, 4, 5)
    assert len(data) == len(list(nothing)) == 0
    assert nothing[:].shape == nothing[torch.tensor([], dtype=torch.int64)].shape == (0, 3, 4, 5)
    assert nothing.float().shape == (0, 3, 4, 5)
    assert len(data.checksum()) == 64
    assert len(data.subset(torch.zeros(0, dtype=torch.bool))) == 0
    with pytest.raises(IndexError):
        nothing[0]
    with pytest.raises(ValueError, match="N >= 1"):
        infer(build_model("tiny"), nothing, mean=data.mean, std=data.std)


def test_a_model_says_the_same_of_rows(base: Tensor, rows: Tensor) -> None:
    model = build_model("tiny").eval()
    logits = [infer(model, images, mean=model.mean, std=model.std, batch_size=4) for images in (base[CHOSEN], rows)]
    assert torch.equal(*logits)
