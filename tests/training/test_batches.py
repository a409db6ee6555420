"""The batches of an epoch: order, shares and seeds; and the size of their images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from thimble.data.augment.augmenter import build_augmenter
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import shapes10
from thimble.training.batches import EpochBatches, resize
from thimble.training.schedules import image_cost, image_size
from thimble.training.tricks.hard_images import Hardness, num_kept

MEAN = (0.2, 0.4, 0.6)


def numbered(count: int) -> ImageDataset:
    """Plain images that tell their index by their colour, and labels that tell it too."""
    indices = torch.arange(count)
    images = indices.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 4, 4)
    return ImageDataset("shapes10", images, indices, tuple(str(i) for i in range(count)), MEAN, MEAN)


def batches(dataset: ImageDataset, config: AugmentConfig | None = None, **options: Any) -> EpochBatches:
    settings: dict[str, Any] = {"batch_size": 8, "seed": 0, "epoch": 0, **options}
    return EpochBatches(dataset, build_augmenter(config or AugmentConfig(), MEAN), **settings)


def test_workers_make_the_same_batches() -> None:
    """Trap 3: left alone, every worker draws the same stream, and other numbers of workers other batches."""
    dataset = shapes10(48)
    alone = list(batches(dataset).loader(0, workers=0, pin_memory=False))
    together = list(batches(dataset).loader(0, workers=2, pin_memory=False))
    assert len(alone) == len(together) == 6
    for (images, labels), (others, other_labels) in zip(alone, together, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_no_two_batches_share_a_random_stream() -> None:
    """Trap 3, by its effect: of one image many times over, all batches of epochs, seeds and processes differ."""
    same = ImageDataset("shapes10", shapes10(1).images.repeat(32, 1, 1, 1), torch.zeros(32).long(), ("a",), MEAN, MEAN)
    moving = AugmentConfig(affine_probability=1.0, rotate_limit_degrees=90.0, cutout_probability=1.0)
    seen = [
        batches(same, moving, seed=seed, epoch=epoch, rank=rank, world_size=2)[batch][0].numpy().tobytes()
        for seed in range(3)
        for epoch in range(3)
        for rank in range(2)
        for batch in range(4)
    ]
    assert len(set(seen)) == 72
    images = batches(same, moving)[0][0]
    assert len({image.numpy().tobytes() for image in images}) == len(images)  # nor do two images of a batch


def test_batches_are_uint8_and_channels_last() -> None:
    images, labels = batches(shapes10(20))[1]
    assert (images.dtype, images.shape) == (torch.uint8, (8, 3, 32, 32))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (labels.dtype, labels.shape) == (torch.int64, (8,))


def test_an_epoch_takes_every_image_at_most_once_with_its_label() -> None:
    left_out = []
    for epoch in range(4):
        loader = batches(numbered(27), AugmentConfig(0.0, 0.0, cutout_probability=0.0), epoch=epoch)
        assert len(loader) == 3
        parts = list(loader.loader(0, workers=0, pin_memory=False))
        assert [len(labels) for _, labels in parts] == [8, 8, 8]
        labels = torch.cat([labels for _, labels in parts])
        assert torch.equal(torch.cat([images for images, _ in parts])[:, 0, 0, 0].long(), labels)
        assert len(set(labels.tolist())) == 24
        assert not torch.equal(labels, labels.sort().values)
        left_out.append(frozenset(range(27)) - set(labels.tolist()))
    assert len(set(left_out)) == 4


def test_processes_share_every_batch() -> None:
    """Without overlap; put together they have the images that a single process would have."""
    still, dataset = AugmentConfig(0.0, 0.0, cutout_probability=0.0), numbered(30)
    single = batches(dataset, still, epoch=2)
    shares = [batches(dataset, still, epoch=2, rank=rank, world_size=4) for rank in range(4)]
    for batch in range(len(single)):
        parts = [share[batch][1] for share in shares]
        assert [len(part) for part in parts] == [2, 2, 2, 2]
        assert torch.cat(parts).sort().values.tolist() == single[batch][1].sort().values.tolist()


@pytest.mark.parametrize("first", [0, 1, 5, 6])
def test_an_epoch_taken_up_goes_on_as_if_it_had_not_stopped(first: int) -> None:
    dataset = shapes10(48)
    whole = list(batches(dataset, seed=3, epoch=1).loader(0, workers=0, pin_memory=False))
    rest = list(batches(dataset, seed=3, epoch=1).loader(first, workers=0, pin_memory=False))
    assert len(rest) == 6 - first
    for (images, labels), (others, other_labels) in zip(whole[first:], rest, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_leaves_the_global_generators_alone(workers: int) -> None:
    """Dropout's masks follow from them: a run that resumes in mid-epoch starts a loader that the first had not."""
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].tolist()  # type: ignore[index]
    assert len(list(batches(shapes10(16)).loader(0, workers=workers, pin_memory=False))) == 2
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before  # type: ignore[index]


def test_batches_are_of_the_pool() -> None:
    still, dataset, pool = AugmentConfig(0.0, 0.0, cutout_probability=0.0), numbered(30), torch.arange(3, 30, 3)
    some = batches(dataset, still, batch_size=4, pool=pool)
    assert len(some) == 2
    labels = torch.cat([some[0][1], some[1][1]])
    assert len(set(labels.tolist())) == 8
    assert set(labels.tolist()) < set(pool.tolist())
    assert torch.equal(torch.cat([some.indices(0), some.indices(1)]), labels)
    assert not torch.equal(labels, labels.sort().values)


def test_the_hardest_are_those_of_the_greatest_loss_when_last_seen() -> None:
    hardness = Hardness(6, torch.device("cpu"))
    assert hardness.hardest(6).tolist() == list(range(6))
    hardness.record(torch.tensor([4, 1, 0]), torch.tensor([0.5, 3.0, 1.0]))
    hardness.record(torch.tensor([3, 5]), torch.tensor([2.0, 0.1]))
    before = hardness.last.clone()
    assert torch.equal(hardness.last, before)  # an epoch works with what was known when it began
    hardness.end_epoch()
    assert hardness.hardest(4).tolist() == [0, 1, 2, 3]  # 2 was never seen
    hardness.record(torch.tensor([2, 1]), torch.tensor([0.0, 0.2]))
    hardness.end_epoch()
    assert hardness.last.tolist() == pytest.approx([1.0, 0.2, 0.0, 2.0, 0.5, 0.1])
    assert hardness.hardest(3).tolist() == [0, 3, 4]


def test_processes_tell_each_other_what_they_saw() -> None:
    one, two = Hardness(4, torch.device("cpu")), Hardness(4, torch.device("cpu"))
    one.record(torch.tensor([0]), torch.tensor([1.0]))
    two.record(torch.tensor([2]), torch.tensor([3.0]))
    of_both = [torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 3.0, 0.0])]
    for _ in range(2):  # to tell it again, as after an interruption, changes nothing
        sums = iter(of_both)
        one.merge(lambda tensor: next(sums))  # noqa: B023
        assert one.fresh.tolist() == [1.0, -1.0, 3.0, -1.0]


def test_the_first_quarter_of_the_epochs_skips_nothing() -> None:
    assert [num_kept(epoch, 4, 10, 0.25) for epoch in range(4)] == [10, 8, 8, 8]
    assert [num_kept(epoch, 9, 10, 0.5) for epoch in range(9)] == [10, 10, 10, 5, 5, 5, 5, 5, 5]
    assert num_kept(0, 1, 10, 0.5) == 10
    assert num_kept(3, 4, 10, 0.0) == 10


def test_image_sizes_are_spread_over_the_epochs() -> None:
    def sides(num_epochs: int, sizes: tuple[float, ...]) -> list[int]:
        found = [image_size(epoch, num_epochs, sizes, (32, 32)) for epoch in range(num_epochs)]
        assert all(height == width for height, width in found)
        return [height for height, _ in found]

    assert sides(5, ()) == [32] * 5
    assert sides(4, (16, 32)) == [16, 16, 32, 32]
    assert sides(3, (16, 24, 32)) == [16, 24, 32]
    assert sides(5, (16, 32)) == [16, 16, 32, 32, 32]
    assert sides(8, (0.5, 0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0)) == [16, 16, 16, 20, 24, 28, 32, 32]
    # More sizes than epochs: some are left out, never the last, which is the data's own.
    assert sides(2, (8, 16, 24, 32)) == [16, 32]
    assert sides(1, (8, 16, 24, 32)) == [32]


def test_a_fraction_is_of_each_side_and_leaves_something_to_see() -> None:
    assert image_size(0, 1, (0.5,), (28, 96)) == (14, 48)
    assert image_size(0, 1, (0.01,), (28, 6)) == (8, 6)
    assert image_size(0, 1, (16,), (28, 96)) == (16, 16)


def test_resizing_smooths_and_keeps_the_mean() -> None:
    images = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    smaller = resize(images, (16, 16))
    assert smaller.shape == (4, 3, 16, 16)
    assert smaller.is_contiguous(memory_format=torch.channels_last)
    stripes = torch.tensor([-1.0, 1.0]).repeat(16).expand(1, 3, 32, 32)
    assert resize(stripes, (16, 16))[..., 2:-2].abs().max() < 0.1  # too fine to be seen at half the size: not aliased
    torch.testing.assert_close(resize(torch.full((1, 3, 32, 32), 0.7), (20, 20)), torch.full((1, 3, 20, 20), 0.7))


def test_the_own_size_is_left_alone() -> None:
    images = torch.randn(2, 3, 32, 32)
    assert resize(images, (32, 32)) is images


@pytest.mark.parametrize("augmenter", ["batched", "albumentations"])
def test_alternating_flips_show_each_image_once_from_each_side_in_two_epochs(augmenter: str) -> None:
    whole = shapes10(60)
    config = AugmentConfig(flip="alternating", affine_probability=0, cutout_probability=0, augmenter=augmenter)  # type: ignore[arg-type]
    assert not any(config.flip_probabilities)  # no chance decides
    sides = []
    for epoch in range(4):
        made = batches(whole, config, batch_size=60, epoch=epoch, alternating=True)
        seen, wanted = made[0][0], whole.images[made.order]
        straight = (seen == wanted).flatten(1).all(1)
        assert torch.equal(straight, ~(seen == wanted.flip(3)).flatten(1).all(1))  # no drawing is its own mirror image
        sides.append(straight[made.order.argsort()])
    assert torch.equal(sides[0], ~sides[1])
    assert torch.equal(sides[0], sides[2])
    assert torch.equal(sides[1], sides[3])
    assert 15 < int(sides[0].sum()) < 45
    other = batches(whole, config, batch_size=60, seed=1, alternating=True)
    assert other.mirrored is not None
    assert not torch.equal(other.mirrored, ~sides[0])  # another seed begins with other images


def test_small_images_cost_less_but_not_nothing() -> None:
    assert image_cost(0, 8, ()) == 1.0
    for sizes in ((0.5, 1.0), (16, 32)):
        costs = [image_cost(epoch, 8, sizes) for epoch in range(8)]
        assert costs[0] == pytest.approx((0.25 + 0.07) / 1.07)
        assert costs == [costs[0]] * 4 + [1.0] * 4
