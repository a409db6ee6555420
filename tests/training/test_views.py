"""Views: drawn once for all images, the same in any batch, mixed with the partner that the draws name."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import Tensor

from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset, normalize
from thimble.data.shapes10 import shapes10
from thimble.data.split import split
from thimble.errors import UserError
from thimble.training.tricks.mixing import blend
from thimble.training.tricks.view_config import ViewConfig, view_augmentation
from thimble.training.tricks.views import Views

COUNT = 60


@pytest.fixture
def data() -> ImageDataset:
    return shapes10(COUNT, seed=1)


def views(data: ImageDataset, **settings: int) -> Views:
    return Views(ViewConfig(**{"views": 4, "mixed_views": 2, **settings}), data, COUNT)  # type: ignore[arg-type]


def made(made_by: Views, indices: list[int], view: int) -> tuple[Tensor, Tensor]:
    chosen = torch.tensor(indices)
    return made_by.make(chosen, torch.full_like(chosen, view))


def test_a_view_is_the_same_in_whatever_batch_it_comes(data: ImageDataset) -> None:
    for view in range(4):
        images, targets = made(views(data), [5, 17, 3, 59], view)
        for place, index in enumerate([5, 17, 3, 59]):
            alone, target = made(views(data), [index], view)
            assert torch.equal(alone[0], images[place])
            assert torch.equal(target[0], targets[place])


def test_views_and_images_and_seeds_differ(data: ImageDataset) -> None:
    looks = [made(views(data, seed=seed), [7, 8], view)[0] for seed in (0, 1) for view in range(4)]
    flat = [look[place] for look in looks for place in (0, 1)]
    assert all(not torch.equal(one, other) for number, one in enumerate(flat) for other in flat[:number])


def test_the_draws_stay_what_they_are_for_ever() -> None:
    """A bank's file holds answers to them: numbers drawn otherwise would make its answers wrong, and nobody tell."""
    drawn = Views(ViewConfig(views=3, mixed_views=1, seed=5), shapes10(40), 40)
    digest = hashlib.sha256()
    for tensor in (drawn.draws, drawn.mixing, drawn.partners):
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == "9b18f13e82bb0c561119f4f8b1305dda4506428e4bb3daeb86071e5cb4ddad2b"


def test_a_plain_view_is_the_augmenters(data: ImageDataset) -> None:
    drawn = views(data)
    images, targets = made(drawn, [4, 30], 3)
    draws = drawn.draws[3 * COUNT + torch.tensor([4, 30])].t().reshape(-1, 2, 1, 1)
    expected = normalize(drawn.augmenter.transform(data.images[[4, 30]], draws), data.mean, data.std)
    assert torch.equal(images, expected)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(targets.argmax(1), data.labels[[4, 30]])
    assert targets.sum(1).tolist() == [1.0, 1.0]
    assert targets.max() == 1.0


def test_without_mixed_views_there_are_labels(data: ImageDataset) -> None:
    _, labels = made(views(data, mixed_views=0), [4, 30], 0)
    assert torch.equal(labels, data.labels[[4, 30]])


def test_a_mixed_view_is_of_its_image_and_its_partner(data: ImageDataset) -> None:
    """What the targets say is in the images: by mixup everywhere, by CutMix in a rectangle."""
    drawn, everyone = views(data), torch.arange(COUNT)
    for view in (0, 1):
        images, targets = drawn.make(everyone, torch.full_like(everyone, view))
        rows = view * COUNT + everyone
        partners = drawn.partners[rows]
        own, other = drawn._seen(everyone, rows), drawn._seen(partners, view * COUNT + partners)
        assert torch.equal(partners.sort().values, everyone)
        boxed = drawn.mixing[rows][:, 1] < 0.5
        assert 10 < boxed.sum() < 50
        share = drawn.mixing[rows][:, 0].view(-1, 1, 1, 1)
        torch.testing.assert_close(images[~boxed], own.lerp(other, share)[~boxed])
        assert ((images == own) | (images == other))[boxed].all()
        different = (own != other).any(1)
        taken = ((images == other).all(1) & different).sum((1, 2)) / different.sum((1, 2)).clamp_min(1)
        shares = 1 - targets[everyone, data.labels]
        fair = boxed & (data.labels != data.labels[partners]) & different.all(1).all(1)
        torch.testing.assert_close(taken[fair], shares[fair], atol=1e-4, rtol=0)
        torch.testing.assert_close(targets.sum(1), torch.ones(COUNT))


def test_a_partner_that_is_held_out_is_never_shown(data: ImageDataset) -> None:
    """And the views of a subset are those of the whole: by an image's number there, not by its place here."""
    rest, held_out = split(data, 20)
    assert held_out is not None
    assert rest.numbers is not None
    assert held_out.numbers is not None
    assert torch.equal(torch.cat([rest.numbers, held_out.numbers]).sort().values, torch.arange(COUNT))
    part, whole = views(rest), views(data)
    everyone = torch.arange(len(rest))
    for view in range(4):
        possible = part.possible(everyone, torch.full_like(everyone, view))
        moved = possible != view
        assert bool(moved.any()) == (view < 2)
        assert (possible[moved] >= 2).all()
        images, targets = part.make(everyone, possible)
        expected, wanted = whole.make(rest.numbers, possible)
        assert torch.equal(images, expected)
        assert torch.equal(targets, wanted)


def test_blending_by_hand() -> None:
    images, partners = torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4)
    mixed, shares = blend(
        images,
        partners,
        shares=torch.tensor([0.25, 0.25, 0.0]),
        boxed=torch.tensor([False, True, True]),
        middles=torch.full((2, 3), 0.5),
    )
    assert torch.equal(mixed[0], torch.full((1, 4, 4), 0.25))
    assert mixed[1].sum() == 4
    assert mixed[1, 0, 1:3, 1:3].sum() == 4
    assert not mixed[2].any()
    assert shares.tolist() == [0.25, 0.25, 0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": 0}, "--views 0: expected at least 1"),
        ({"views": 4, "mixed_views": 4}, "--mixed-views 4: expected 0 to 3, fewer than --views"),
        ({"mixed_views": -1}, "--mixed-views -1: expected 0 to 15"),
        ({"seed": -1}, "--seed -1: expected a whole number of at least 0"),
        ({"augment": AugmentConfig()}, "--augmenter albumentations: views need batched"),
        (
            {"augment": AugmentConfig(flip="alternating", augmenter="batched")},
            "--flip alternating: views belong to no epoch",
        ),
    ],
)
def test_what_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ViewConfig(**settings)  # type: ignore[arg-type]


def test_views_are_flipped_as_asked(data: ImageDataset) -> None:
    everyone, pixels = torch.arange(COUNT), normalize(data.images, data.mean, data.std)
    turns = [(), (3,), (2,), (2, 3)]
    for flip, turned in (("none", [0]), ("horizontal", [0, 1]), ("both", [0, 1, 2, 3])):
        augment = AugmentConfig(flip=flip, affine_probability=0.0, cutout_probability=0.0, augmenter="batched")  # type: ignore[arg-type]
        drawn = Views(ViewConfig(views=4, augment=augment), data, COUNT)
        seen = torch.cat([drawn.make(everyone, torch.full_like(everyone, view))[0] for view in range(4)])
        found = torch.stack([(seen == pixels.flip(axes).repeat(4, 1, 1, 1)).flatten(1).all(1) for axes in turns])
        assert found[turned].any(0).all()
        assert all(float(found[turn].float().mean()) > 0.15 for turn in turned)


def test_colours_change_in_a_view_too(data: ImageDataset) -> None:
    import dataclasses

    colours = dataclasses.replace(view_augmentation(), color_probability=1.0)
    assert Views(ViewConfig(views=1, augment=colours), data, COUNT).draws.shape == (COUNT, 20)
