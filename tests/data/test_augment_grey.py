"""Images of one channel, of any size: augmented as grey images of three channels are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from thimble.data.augment.augmenter import build_augmenter
from thimble.data.augment.preview import preview
from thimble.data.augment.settings import AugmentConfig, fill_color
from thimble.data.dataset import ImageDataset

EVERYTHING: dict[str, Any] = {
    "affine_probability": 1.0,
    "rotate_limit_degrees": 20.0,
    "color_probability": 0.7,
    "color_limit": 0.3,
    "sharpen_probability": 0.5,
    "sharpen_limit": 0.3,
    "cutout_probability": 0.5,
}
OFF: dict[str, Any] = dict.fromkeys(("flip_probability", "affine_probability", "cutout_probability"), 0.0)

both = pytest.mark.parametrize("name", ["albumentations", "batched"])


def noise(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, height, width), dtype=torch.uint8, generator=generator)


@both
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (20, 31), (96, 64)])
def test_grey_is_augmented_as_three_equal_channels(name: str, size: tuple[int, int]) -> None:
    config = AugmentConfig(augmenter=name, **EVERYTHING)  # type: ignore[arg-type]
    grey = noise(40, *size)
    one = build_augmenter(config, (0.4,)).augment(grey, 3)
    three = build_augmenter(config, (0.4,) * 3).augment(grey.expand(-1, 3, -1, -1).contiguous(), 3)
    assert one.shape == grey.shape
    assert one.dtype == torch.uint8
    # The luminance of three equal channels may differ from them in a last bit, and so a rounded pixel by one step.
    assert (one.int() - three.int()).abs().max() <= 2
    assert (one != three[:, :1]).double().mean() < 0.05
    assert (one != grey).flatten(1).any(1).double().mean() > 0.9


@both
def test_without_changes_of_light_it_is_the_same_to_the_bit(name: str) -> None:
    config = AugmentConfig(augmenter=name, **EVERYTHING | {"color_probability": 0.0, "sharpen_probability": 0.0})  # type: ignore[arg-type]
    grey = noise(40, 28, 28)
    one = build_augmenter(config, (0.4,)).augment(grey, 3)
    three = build_augmenter(config, (0.4,) * 3).augment(grey.expand(-1, 3, -1, -1).contiguous(), 3)
    assert torch.equal(one.expand(-1, 3, -1, -1), three)


@both
def test_the_rectangle_has_the_mean_grey(name: str) -> None:
    config = AugmentConfig(**OFF | {"cutout_probability": 1.0}, augmenter=name)  # type: ignore[arg-type]
    assert fill_color((0.4,)) == (102,)
    seen = build_augmenter(config, (0.4,)).augment(torch.full((30, 1, 40, 24), 7, dtype=torch.uint8), 0)
    assert set(seen.flatten().tolist()) == {7, 102}
    assert (seen == 102).flatten(1).any(1).all()


def test_both_augmenters_change_grey_alike() -> None:
    """Means to within four standard errors and what Albumentations cuts off; spreads to within a tenth."""
    image = noise(1, 16, 16).expand(2000, -1, -1, -1).contiguous()
    found = []
    for seed, name in enumerate(("albumentations", "batched")):
        config = AugmentConfig(
            **OFF,
            color_probability=1.0,
            color_limit=0.4,
            sharpen_probability=0.5,
            sharpen_limit=0.2,
            augmenter=name,  # type: ignore[arg-type]
        )
        pixels = build_augmenter(config, (0.5,)).augment(image, seed).double()
        found.append((pixels.mean((1, 2, 3)), pixels.std((1, 2, 3)), pixels.diff(dim=3).abs().mean((1, 2, 3))))
    for one, other in zip(*found, strict=True):
        error = ((one.var() + other.var()) / 2000).sqrt()
        assert (one.mean() - other.mean()).abs() <= 4 * error + 0.75
        assert other.std().item() == pytest.approx(one.std().item(), rel=0.1)


def dataset(images: Tensor, num_classes: int) -> ImageDataset:
    labels = torch.arange(len(images)) % num_classes
    channels = images.shape[1]
    classes = tuple(f"class {number}" for number in range(num_classes))
    return ImageDataset("grey", images, labels, classes, (0.5,) * channels, (0.25,) * channels)


def test_a_preview_of_grey_images_has_their_pixels() -> None:
    data = dataset(noise(6, 20, 30), 3)
    page = np.asarray(preview(data, AugmentConfig(augmenter="batched"), columns=2))
    tall, wide = 3 * 20, 3 * 30
    for row in range(3):
        tile = page[40 + row * (tall + 6) :, 110:][:tall:3, :wide:3]
        assert any(np.array_equal(tile[..., 0], image[0]) for image in data.images.numpy())
        assert (tile == tile[..., :1]).all()


@pytest.mark.parametrize(("size", "tile"), [((8, 8), 96), ((100, 50), 96), ((128, 128), 96), ((256, 96), 96)])
def test_a_preview_is_no_larger_for_larger_images(size: tuple[int, int], tile: int) -> None:
    page = preview(dataset(noise(2, *size), 2), AugmentConfig(augmenter="batched"), columns=3)
    tall, wide = round(size[0] * tile / max(size)), round(size[1] * tile / max(size))
    assert page.size == (110 + 4 * (wide + 6) + 18, 40 + 2 * (tall + 6) + 6)


def test_a_preview_of_hundreds_of_classes_shows_twenty() -> None:
    data = dataset(noise(242, 28, 28), 242)
    page = preview(data, AugmentConfig(augmenter="batched"), columns=2)
    fewer = preview(dataclasses.replace(data, labels=data.labels % 20, classes=data.classes[:20]), AugmentConfig())
    assert page.height == fewer.height == 40 + 20 * (3 * 28 + 6) + 6
