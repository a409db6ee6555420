"""Mixing: how often, mixup and CutMix against what their targets say, and batches that follow from their seed."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from thimble.training.tricks.mixing import main_labels, mix, mix_probability

COUNT = 12


def batch(height: int = 16, width: int = 16) -> tuple[Tensor, Tensor]:
    """Images of which no two share a pixel's value, each of a class of its own, out of order."""
    images = torch.randn(COUNT, 3, height, width, generator=torch.Generator().manual_seed(0))
    return images, torch.arange(COUNT).roll(5).flip(0)


def mixed(seed: int, *, alpha: float = 1.0, size: tuple[int, int] = (16, 16)) -> tuple[Tensor, Tensor]:
    """The batch, mixed for certain."""
    return mix(*batch(*size), COUNT, probability=1.0, alpha=alpha, seed=seed)


def is_mixup(images: Tensor) -> bool:
    """Whether most pixels are neither their own image's nor its partner's."""
    own = batch(*images.shape[2:])[0]
    return bool(((images != own) & (images != own.roll(1, 0))).double().mean() > 0.5)


def seeds(mixup: bool, alpha: float = 1.0) -> list[int]:
    """Twenty seeds by which the batch is mixed in one of the two ways."""
    chosen = (seed for seed in range(200) if is_mixup(mixed(seed, alpha=alpha)[0]) == mixup)
    found = list(itertools.islice(chosen, 20))
    assert len(found) == 20
    return found


def partner_shares(targets: Tensor) -> Tensor:
    """The part of each target, float32 (N,), that belongs to the label of the image before it."""
    labels = batch()[1]
    return targets[torch.arange(COUNT), labels.roll(1)]


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        ((0.0, 1.0), [0.8] * 8),
        ((0.5, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8]),
        ((0.25, 0.75), [0.0, 0.4, 0.8, 0.8, 0.8, 0.8, 0.0, 0.0]),
        ((1.0, 1.0), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ((0.5, 0.5), [0.0, 0.2, 0.4, 0.6, 0.0, 0.0, 0.0, 0.0]),
        ((0.0, 0.0), [0.0] * 8),
    ],
)
def test_the_share_of_mixed_batches_rises_and_ends(ramp: tuple[float, float], expected: list[float]) -> None:
    assert [mix_probability(epoch, 8, 0.8, ramp) for epoch in range(8)] == pytest.approx(expected)


def test_a_run_of_one_epoch_is_mixed_or_still_rising() -> None:
    assert mix_probability(0, 1, 0.8, (0.0, 1.0)) == 0.8
    assert mix_probability(0, 1, 0.8, (0.2, 1.0)) == 0.0


def test_probability_0_gives_back_the_very_arguments() -> None:
    images, labels = batch()
    for seed in range(50):
        same, targets = mix(images, labels, COUNT, probability=0.0, alpha=1.0, seed=seed)
        assert same is images
        assert targets is labels


def test_probability_1_always_mixes() -> None:
    images, _ = batch()
    for seed in range(50):
        result, targets = mixed(seed)
        assert not torch.equal(result, images)
        assert targets.shape == (COUNT, COUNT)


def test_batches_are_mixed_as_often_as_asked_and_in_both_ways_alike() -> None:
    images, labels = batch(4, 4)
    results = [mix(images, labels, COUNT, probability=0.3, alpha=1.0, seed=seed)[0] for seed in range(2000)]
    changed = [result for result in results if result is not images]
    assert len(changed) / 2000 == pytest.approx(0.3, abs=0.04)
    assert sum(map(is_mixup, changed)) / len(changed) == pytest.approx(0.5, abs=0.08)


def test_the_seed_decides_the_result() -> None:
    images, targets = mixed(3)
    again, same_targets = mixed(3)
    assert torch.equal(images, again)
    assert torch.equal(targets, same_targets)
    assert len({mixed(seed)[0].numpy().tobytes() for seed in range(50)}) == 50


def test_what_goes_in_is_not_modified_nor_is_the_random_stream_moved() -> None:
    images, labels = batch()
    state = torch.get_rng_state()
    for seed in (seeds(mixup=True)[0], seeds(mixup=False)[0]):
        mix(images, labels, COUNT, probability=1.0, alpha=1.0, seed=seed)
    assert torch.equal(images, batch()[0])
    assert torch.equal(labels, batch()[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mixup", [True, False], ids=["mixup", "CutMix"])
def test_targets_are_shares_of_an_image_and_of_the_one_before_it(mixup: bool) -> None:
    labels = batch()[1]
    everything = []
    for seed in seeds(mixup):
        targets = mixed(seed)[1]
        assert targets.dtype == torch.float32
        torch.testing.assert_close(targets.sum(1), torch.ones(COUNT))
        assert targets.min() >= 0
        own = targets[torch.arange(COUNT), labels]
        torch.testing.assert_close(own + partner_shares(targets), torch.ones(COUNT))
        everything.append(partner_shares(targets))
        assert len(set(everything[-1].tolist())) > COUNT / 3  # each image has a share of its own
    assert torch.cat(everything).min() < 0.1
    assert torch.cat(everything).max() > 0.8


def test_two_images_of_one_class_are_wholly_of_it() -> None:
    images, _ = batch()
    for seed in range(10):
        targets = mix(images, torch.full((COUNT,), 2), 4, probability=1.0, alpha=1.0, seed=seed)[1]
        torch.testing.assert_close(targets, torch.eye(4)[2].expand(COUNT, -1))


def test_mixup_is_the_weighted_mean_that_its_targets_say() -> None:
    images, labels = batch()
    by_class = torch.empty_like(images)
    by_class[labels] = images
    for seed in seeds(mixup=True):
        result, targets = mixed(seed)
        torch.testing.assert_close(result, torch.einsum("nc,cxyz->nxyz", targets, by_class), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(16, 16), (8, 32)])
def test_cutmix_is_a_rectangle_of_the_image_before_whose_area_the_targets_say(size: tuple[int, int]) -> None:
    images, _ = batch(*size)
    places = set()
    for seed in seeds(mixup=False):
        result, targets = mixed(seed, size=size)
        own, partners = (result == images).all(1), (result == images.roll(1, 0)).all(1)
        assert (own ^ partners).all()  # every pixel is of one of the two, and whole
        assert torch.equal(partners.sum((1, 2)) / 256, partner_shares(targets))  # exact, of so many pixels
        for inside in partners:
            rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
            assert len(rows) * len(columns) == inside.sum()
            if len(rows):
                places.add((int(rows[0]), int(columns[0])))
    assert len(places) > 40


def test_cutmix_keeps_the_proportions_of_the_image_and_goes_everywhere() -> None:
    """Of rectangles that no edge cuts off; and every pixel is covered now and then, those at the edge less often."""
    images, _ = batch(16, 32)
    ratios, covered = [], torch.zeros(16, 32)
    for seed in seeds(False, alpha=5.0):
        inside = (mixed(seed, alpha=5.0, size=(16, 32))[0] != images).any(1)
        covered += inside.sum(0)
        for each in inside:
            rows, columns = each.any(1).nonzero().flatten().tolist(), each.any(0).nonzero().flatten().tolist()
            if rows and rows[0] > 0 and rows[-1] < 15 and columns[0] > 0 and columns[-1] < 31:
                ratios.append(len(columns) / len(rows))
    assert len(ratios) > 5
    assert sum(ratios) / len(ratios) == pytest.approx(2.0, abs=0.3)
    assert covered.min() > 0
    assert covered[7, 15] > covered[0, 0]


@pytest.mark.parametrize(("alpha", "least", "most"), [(0.2, 0.1, 0.3), (1.0, 0.4, 0.6), (200.0, 0.95, 1.0)])
def test_alpha_says_how_evenly_images_are_mixed(alpha: float, least: float, most: float) -> None:
    """By the mean of 2 * the lesser share: near 0 where one image is all but alone, 1/2 for uniform shares."""
    shares = torch.cat([partner_shares(mixed(seed, alpha=alpha)[1]) for seed in seeds(True, alpha)])
    evenness = 2 * torch.minimum(shares, 1 - shares).mean()
    assert least < evenness < most
    assert shares.mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("mixup", [True, False], ids=["mixup", "CutMix"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_type_and_memory_format_are_kept(mixup: bool, dtype: torch.dtype) -> None:
    images, labels = batch()
    for memory_format in (torch.channels_last, torch.contiguous_format):
        given = images.to(dtype).contiguous(memory_format=memory_format)
        result, targets = mix(given, labels, COUNT, probability=1.0, alpha=1.0, seed=seeds(mixup)[0])
        assert result.dtype == dtype
        assert result.is_contiguous(memory_format=memory_format)
        assert targets.dtype == torch.float32
        torch.testing.assert_close(result.float(), mixed(seeds(mixup)[0])[0], rtol=0.02, atol=0.03)


def test_the_main_label_is_the_class_with_the_greatest_share() -> None:
    labels = torch.tensor([3, 0, 2])
    assert main_labels(labels) is labels
    targets = torch.tensor([[0.4, 0.0, 0.6], [0.7, 0.3, 0.0], [0.0, 1.0, 0.0]])
    assert main_labels(targets).tolist() == [2, 0, 1]
    assert main_labels(targets).dtype == torch.int64
