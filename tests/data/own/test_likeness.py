"""Images that look the same are found, others not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from thimble.data.own import likeness
from thimble.data.own.likeness import look_alikes, perceptual_hashes


def picture(seed: int, side: int = 64) -> Image.Image:
    """Soft spots of all sizes and colours, as photos have."""
    random = np.random.default_rng(seed)
    pages = [random.integers(0, 256, (size, size, 3), np.uint8) for size in (4, 9, 20)]
    scaled = [np.asarray(Image.fromarray(page).resize((side, side)), np.float64) for page in pages]
    return Image.fromarray(np.average(scaled, 0, (6, 3, 1)).astype(np.uint8))


def stacked(pictures: list[Image.Image]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) for image in pictures])


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a JPEG": as_jpeg,
    "resized": lambda image: image.resize((50, 50)).resize(image.size),
    "brighter": lambda image: image.point(lambda value: min(255, round(1.1 * value))),
    "equal": lambda image: image,
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_look_the_same(copy: str) -> None:
    pictures = [picture(seed) for seed in range(40)]
    images = stacked([*pictures, *(COPIES[copy](image) for image in pictures)])
    found = {(one, other) for one, other, _ in look_alikes(images).tolist()}
    wanted = {(index, index + 40) for index in range(40)}
    assert len(found & wanted) >= (26 if copy == "a JPEG" else 36)
    assert found <= wanted


def test_different_drawings_on_the_same_page_do_not() -> None:
    random = np.random.default_rng(0)
    images = torch.zeros(300, 1, 28, 28, dtype=torch.uint8)
    for index in range(300):
        top, left, tall, wide = random.integers(3, 12, 4)
        images[index, 0, top : top + tall, left : left + wide] = 255
    found = look_alikes(images)
    assert all(torch.equal(images[one], images[other]) for one, other, _ in found.tolist())


def test_blank_images_look_like_none_but_their_equals() -> None:
    images = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 3, 32, 32)
    assert len(look_alikes(images)) == 0
    assert look_alikes(images[[3, 4, 3, 5, 3]]).tolist() == [[0, 2, 1], [0, 4, 1]]


def test_similar_and_equal_images_are_told_apart() -> None:
    one = stacked([picture(0)])
    found = look_alikes(torch.cat([one, one + 1, one, stacked([picture(1)]), one + 1]).contiguous())
    assert found.tolist() == [[0, 1, 0], [0, 2, 1], [1, 4, 1]]


def test_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(seed, 32) for seed in range(20)]
    images = stacked([*pictures, *map(as_jpeg, pictures), *pictures[:5]])
    whole = look_alikes(images)
    monkeypatch.setattr(likeness, "_CHUNK_VALUES", 7 * 3 * 32 * 32)
    assert np.array_equal(look_alikes(images), whole)


@pytest.mark.parametrize("kinds", [1, 3_000])
def test_thousands_of_images_that_look_the_same_take_bounded_work(kinds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    verified = likeness.verified

    def counting(images: torch.Tensor, pairs: likeness.Pairs, least: float) -> likeness.Pairs:
        compared.append(len(pairs))
        return verified(images, pairs, least)

    monkeypatch.setattr(likeness, "verified", counting)
    images = stacked([picture(0, 32)]).repeat(3_000, 1, 1, 1)
    numbers = torch.arange(3_000) % kinds
    images[:, :, 0, 0] = torch.stack([numbers % 16, numbers // 16 % 16, numbers // 256], 1).to(torch.uint8)
    found = look_alikes(images)
    assert sum(compared) == (0 if kinds == 1 else 2_999)
    assert len(np.unique(found[:, :2])) == 3_000  # none is missed
    assert (found[:, 2] == (kinds == 1)).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images(count: int) -> None:
    images = stacked([picture(0)] * 2)[:count]
    assert perceptual_hashes(images).shape == (count,)
    assert look_alikes(images).tolist() == ([[0, 1, 1]] if count == 2 else [])
