"""Colour and sharpening: what each change does, how often and how far, and that both augmenters do the same."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from torch import Tensor

from thimble.data.augment.augmenter import build_augmenter
from thimble.data.augment.settings import AugmentConfig
from thimble.training.recipes import fast

MEAN = (0.2, 0.4, 0.6)
FILL = [51, 102, 153]
OFF: dict[str, Any] = {"flip_probability": 0.0, "affine_probability": 0.0, "cutout_probability": 0.0}
MOVING: dict[str, Any] = {"affine_probability": 1.0, "rotate_limit_degrees": 20.0, "cutout_probability": 0.5}

both = pytest.mark.parametrize("name", ["albumentations", "batched"])


def views(name: str, image: Tensor, count: int, seed: int = 0, **settings: Any) -> Tensor:
    """Many augmentations of one image, uint8 (count, 3, height, width), without any but those that the settings ask."""
    augmenter = build_augmenter(AugmentConfig(**{**OFF, "augmenter": name, **settings}), MEAN)
    return augmenter.augment(image.expand(count, -1, -1, -1).contiguous(), seed)


def patches() -> Tensor:
    """A quarter dark grey, a quarter light grey, half red: the mean grey is 80, and the red is as light as that."""
    image = torch.empty(3, 16, 16, dtype=torch.uint8)
    image[:, :4], image[:, 4:8] = 40, 120
    image[:, 8:] = torch.tensor([140, 55, 51], dtype=torch.uint8).view(3, 1, 1)
    return image


def factors(seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By how much brightness, contrast and saturation of ``patches()`` were multiplied, each float64 (count,)."""
    dark, light, red = (seen[:, :, row, 5].double() for row in (2, 6, 12))
    brightness = (dark + light)[:, 0] / 160
    contrast = (light - dark)[:, 0] / 80 / brightness
    return brightness, contrast, (red[:, 0] - red[:, 2]) / 89 / brightness / contrast


def dot(row: int, column: int) -> Tensor:
    """Grey of 100 with one pixel of 136."""
    image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    image[:, row, column] = 136
    return image


def noise() -> Tensor:
    return torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def smooth() -> Tensor:
    """A slope of each colour: red to the right, green downwards, blue to the left."""
    along = torch.arange(16).mul(16).to(torch.uint8)
    return torch.stack([along.expand(16, -1), along.view(-1, 1).expand(-1, 16), along.flip(0).expand(16, -1)])


@both
@pytest.mark.parametrize(
    "settings",
    [
        {"color_limit": 0.9, "sharpen_limit": 0.9},
        {"color_probability": 1.0, "color_limit": 0.0, "sharpen_probability": 1.0, "sharpen_limit": 0.0},
    ],
    ids=["never", "by nothing"],
)
def test_off_changes_no_pixel_and_no_other_draw(name: str, settings: dict[str, Any]) -> None:
    assert torch.equal(views(name, noise(), 4, **settings), noise().expand(4, -1, -1, -1))
    moved = views(name, noise(), 16, **MOVING)
    assert not torch.equal(moved, noise().expand(16, -1, -1, -1))
    assert torch.equal(views(name, noise(), 16, **MOVING, **settings), moved)


def test_the_fast_recipe_sees_the_images_that_it_saw_before_there_was_colour() -> None:
    """Their hash, stored then. Only whole numbers are computed with, so that it holds on any processor."""
    images = torch.arange(32 * 3 * 32 * 32).mul(7919).remainder(256).to(torch.uint8).view(32, 3, 32, 32)
    seen = build_augmenter(fast().augment, MEAN).augment(images, 5)
    found = hashlib.sha256(seen.contiguous().numpy().tobytes()).hexdigest()
    assert found == "ed63c61ead7b87e1f89d6e2a25e3f4861d9b449c6282a5cdc50d1965aac4065e"


@both
def test_brightness_contrast_and_saturation_reach_to_their_limit_independently(name: str) -> None:
    """Each factor is uniform from 0.8 to 1.2: to within what rounding leaves of it."""
    found = factors(views(name, patches(), 3000, color_probability=1.0, color_limit=0.2))
    for factor in found:
        assert 0.77 < factor.min() < 0.82
        assert 1.18 < factor.max() < 1.25
        assert factor.mean().item() == pytest.approx(1.0, abs=0.02)
        assert factor.std().item() == pytest.approx(0.4 / 12**0.5, rel=0.06)
    apart = torch.corrcoef(torch.stack(found)) - torch.eye(3)
    assert apart.abs().max() < 0.08


@both
def test_the_changes_of_colour_happen_as_often_as_asked_and_apart(name: str) -> None:
    """The trap: one seed for all of Albumentations' transforms would change all three or none, half of the time."""
    seen = views(name, patches(), 3000, color_probability=0.5, color_limit=0.2)
    unchanged = (seen == patches()).all((1, 2, 3)).double().mean()
    assert 0.1 < unchanged < 0.155  # an eighth, and a few that were changed by next to nothing
    left = [((factor - 1).abs() < 0.015).int() for factor in factors(seen)]
    together = torch.bincount(left[0] * 4 + left[1] * 2 + left[2], minlength=8) / 3000
    assert together.min() > 0.08
    assert together.max() < 0.18
    rarely = (views(name, patches(), 2000, color_probability=0.1) == patches()).all((1, 2, 3)).double().mean()
    assert rarely.item() == pytest.approx(0.9**3, abs=0.04)


@both
def test_what_brightness_pushes_past_white_is_lost_to_contrast(name: str) -> None:
    """Half black, half white: after less contrast, the two are together as light as before it, at most white."""
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, 4:] = 255
    seen = views(name, image, 500, color_probability=1.0, color_limit=0.3).float()
    black, white = seen[:, 0, 0, 0], seen[:, 0, 7, 0]
    flat = black > 2
    assert 150 < flat.sum() < 350
    assert (black + white)[flat].max() <= 257  # 331, were the order another
    assert (black + white)[flat].min() < 200


@both
@pytest.mark.parametrize(
    ("row", "column", "watched", "shares"),
    [
        (4, 4, [(4, 4), (4, 5), (3, 3), (4, 6)], [288, -36, -36, 0]),
        (0, 0, [(0, 0), (0, 1), (1, 1), (0, 2)], [288, -36, -36, 0]),
        (1, 1, [(1, 1), (0, 0), (0, 1), (2, 2)], [288, -144, -72, -36]),  # the edge is mirrored: seen two, four times
    ],
    ids=["middle", "corner", "beside the corner"],
)
def test_sharpening_widens_the_distance_to_the_mean_of_the_neighbours(
    name: str, row: int, column: int, watched: list[tuple[int, int]], shares: list[int]
) -> None:
    """By hand: nine times (the pixel - the mean of nine), times a share that is uniform from 0 to the limit."""
    rows, columns = zip(*watched, strict=True)
    seen = views(name, dot(row, column), 1000, sharpen_probability=1.0, sharpen_limit=0.4)
    change = (seen.double() - dot(row, column))[:, 0, rows, columns]
    share = change[:, 0] / 288
    assert torch.equal(seen[:, 0], seen[:, 2])
    assert (change - share.view(-1, 1) * torch.tensor(shares)).abs().max() <= 0.5 + 0.5 * 144 / 288
    assert share.min() < 0.01
    assert 0.39 < share.max() < 0.402
    assert share.mean().item() == pytest.approx(0.2, abs=0.02)
    far = seen[:, :, 7, 7]
    assert (far == 100).all()


@both
def test_sharpening_happens_as_often_as_asked_and_leaves_flat_places(name: str) -> None:
    sharpened = (views(name, dot(4, 4), 2000, sharpen_probability=0.3, sharpen_limit=0.9) != dot(4, 4)).any(3)
    assert sharpened.flatten(1).any(1).double().mean().item() == pytest.approx(0.3, abs=0.04)
    flat = torch.tensor([3, 90, 251], dtype=torch.uint8).view(3, 1, 1).repeat(1, 8, 8)
    assert (views(name, flat, 50, sharpen_probability=1.0, sharpen_limit=0.9) == flat).all()


@both
def test_colour_and_sharpening_know_nothing_of_each_other(name: str) -> None:
    """A pixel of light in grey: sharpening darkens its neighbours, as against the rest, and colour changes the rest."""
    settings: dict[str, Any] = {"color_probability": 0.3, "sharpen_probability": 0.5, "sharpen_limit": 0.4}
    seen = views(name, dot(4, 4), 3000, **settings)[:, 0]
    colored, sharpened = seen[:, 7, 7] != 100, seen[:, 4, 5] != seen[:, 7, 7]
    assert abs(torch.corrcoef(torch.stack([colored, sharpened]).double())[0, 1]) < 0.08


@both
def test_the_fill_of_the_rectangle_is_neither_recoloured_nor_sharpened(name: str) -> None:
    """In plain grey, all that is not the fill is one grey, to the edge of the rectangle."""
    grey = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    changing: dict[str, Any] = {"color_probability": 1.0, "sharpen_probability": 1.0, "sharpen_limit": 0.5}
    seen = views(name, grey, 200, **changing, cutout_probability=1.0)
    covered = (seen == torch.tensor(FILL).view(3, 1, 1)).all(1)
    assert covered.any((1, 2)).all()
    shades = set()
    for view, hole in zip(seen, covered, strict=True):
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        [shade] = view[:, ~hole].unique(dim=1).T.tolist()
        shades.add(shade[0])
    assert len(shades) > 30


def measures(seen: Tensor) -> dict[str, Tensor]:
    """Of each view: lightness, contrast, colourfulness and roughness, float64 (count,)."""
    pixels = seen.double()
    return {
        **{f"mean of channel {channel}": pixels[:, channel].mean((1, 2)) for channel in range(3)},
        "contrast": pixels.mean(1).std((1, 2)),
        "colourfulness": pixels.std(1).mean((1, 2)),
        "roughness": pixels.diff(dim=3).abs().mean((1, 2, 3)),
    }


@pytest.mark.parametrize("image", [noise(), smooth()], ids=["noise", "smooth"])
@pytest.mark.parametrize(
    "settings",
    [
        {"color_probability": 1.0, "color_limit": 0.4},
        {"sharpen_probability": 1.0, "sharpen_limit": 0.3},
        {"color_probability": 0.6, "sharpen_probability": 0.5, "sharpen_limit": 0.2},
    ],
    ids=["colour", "sharpening", "both"],
)
def test_both_augmenters_change_colours_alike(image: Tensor, settings: dict[str, Any]) -> None:
    """Over 2,000 draws of each: means to within four standard errors and what Albumentations cuts off, as it rounds
    towards zero after each change; spreads to within a tenth."""
    theirs = measures(views("albumentations", image, 2000, 1, **settings))
    ours = measures(views("batched", image, 2000, 2, **settings))
    for name, one in theirs.items():
        other = ours[name]
        error = ((one.var() + other.var()) / 2000).sqrt()
        assert (one.mean() - other.mean()).abs() <= 4 * error + 0.75, name
        assert other.std().item() == pytest.approx(one.std().item(), rel=0.1, abs=0.05), name


def test_the_comparison_is_not_blind() -> None:
    """A fifth less of sharpening shows."""
    one = measures(views("batched", noise(), 2000, 1, sharpen_probability=1.0, sharpen_limit=0.3))
    other = measures(views("batched", noise(), 2000, 2, sharpen_probability=1.0, sharpen_limit=0.24))
    error = ((one["roughness"].var() + other["roughness"].var()) / 2000).sqrt()
    assert (one["roughness"].mean() - other["roughness"].mean()).abs() > 4 * error + 0.75


@both
def test_the_same_seed_gives_the_same_colours(name: str) -> None:
    settings: dict[str, Any] = {"color_probability": 0.7, "sharpen_probability": 0.5}
    first = views(name, smooth(), 32, 7, **settings)
    assert torch.equal(views(name, smooth(), 32, 7, **settings), first)
    assert not torch.equal(views(name, smooth(), 32, 8, **settings), first)
    assert len({view.numpy().tobytes() for view in first}) > 25
    assert first.dtype == torch.uint8
    assert first.is_contiguous(memory_format=torch.channels_last)
