"""Whether images may be mirrored."""

from __future__ import annotations

import torch

from thimble.data.augment.mirroring import choose_flip, decided
from thimble.data.augment.preview import preview
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset


def dataset(images: torch.Tensor, labels: torch.Tensor) -> ImageDataset:
    channels = images.shape[1]
    return ImageDataset("mine", images, labels, ("a", "b"), (0.5,) * channels, (0.2,) * channels)


def strokes(num_images: int, channels: int, *, sided: bool) -> ImageDataset:
    """Bright bars on noise: of one class at the left, of the other at the right; or at the top and at the bottom."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (num_images, channels, 32, 32), generator=random, dtype=torch.uint8)
    labels = torch.arange(num_images) % 2
    for image, label in zip(images, labels.tolist(), strict=True):
        rows = slice(20 * label, 20 * label + 10)
        (image.transpose(1, 2) if sided else image)[:, rows] += 150
    return dataset(images, labels)


def test_classes_that_a_mirror_exchanges_are_not_mirrored() -> None:
    for channels in (1, 3):
        flip, reason = choose_flip(strokes(60, channels, sided=True))
        assert flip == "none"
        assert "for 100% of the images, and for 0% if mirrored" in reason
        assert choose_flip(strokes(60, channels, sided=False))[0] == "horizontal"


def test_noise_and_a_single_image_are_mirrored() -> None:
    noise = torch.randint(0, 256, (40, 3, 20, 24), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert choose_flip(dataset(noise, torch.arange(40) % 2))[0] == "horizontal"
    assert choose_flip(dataset(noise[:1], torch.zeros(1, dtype=torch.int64)))[0] == "horizontal"
    assert choose_flip(dataset(torch.zeros_like(noise), torch.arange(40) % 2))[0] == "horizontal"


def test_a_preview_shows_what_auto_will_choose() -> None:
    for sided, chosen in ((True, "none"), (False, "horizontal")):
        images = strokes(60, 3, sided=sided)
        auto, same = AugmentConfig(flip="auto"), AugmentConfig(flip=chosen)  # type: ignore[arg-type]
        assert decided(auto, images) == same
        assert preview(images, auto).tobytes() == preview(images, same).tobytes()
    assert decided(AugmentConfig(flip="both"), images).flip == "both"
