"""How an image becomes a network's pixels: cropped, padded or squashed, in colour or grey, from any depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from test_pixels import soft, turned

from thimble.data.pixels import PADDING, Fit, Fitting, picture_size, to_input, to_picture, view_of
from thimble.models import build_model

WIDE, TALL = (120, 40), (40, 120)


def bars(size: tuple[int, int]) -> Image.Image:
    """Along the longer side: a tenth black, the middle grey of 100, a tenth white."""
    width, height = size
    image = Image.new("L", (120, 40), 100)
    image.paste(0, (0, 0, 12, 40))
    image.paste(255, (108, 0, 120, 40))
    return image if width > height else image.rotate(-90, expand=True)


def along(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The middle line of an image's pixels, along the longer side of the image that it was made of."""
    image = pixels[0]
    return image[len(image) // 2] if size[0] > size[1] else image[:, image.shape[1] // 2]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [WIDE, TALL])
def test_crop_keeps_the_middle(size: tuple[int, int], channels: int) -> None:
    pixels = to_input(bars(size), Fitting((30, 30), channels, "crop"))
    assert pixels.shape == (channels, 30, 30)
    assert set(pixels.flatten().tolist()) == {100}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [WIDE, TALL])
def test_squash_keeps_all_and_the_borders(size: tuple[int, int], channels: int) -> None:
    line = along(to_input(bars(size), Fitting((30, 30), channels, "squash")), size)
    assert (line[:2] == 0).all()
    assert (line[-2:] == 255).all()
    assert (line[6:24] == 100).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [WIDE, TALL])
def test_pad_keeps_all_and_its_shape_between_borders_of_grey(size: tuple[int, int], channels: int) -> None:
    pixels = to_input(bars(size), Fitting((30, 30), channels, "pad"))
    assert pixels.shape == (channels, 30, 30)
    line = along(pixels, size)
    assert (line[:2] == 0).all()
    assert (line[-2:] == 255).all()
    upright = pixels if size == WIDE else pixels.transpose(1, 2)
    assert (upright[:, :10] == PADDING).all()
    assert (upright[:, 20:] == PADDING).all()
    assert (upright[:, 10:20, 6:24] == 100).all()


@pytest.mark.parametrize(
    ("size", "wanted", "box"),  # (width, height), (height, width), and where the image lies: left, top, right, bottom
    [
        ((10, 10), (20, 40), (10, 0, 30, 20)),
        ((10, 10), (40, 20), (0, 10, 20, 30)),
        ((20, 40), (20, 40), (15, 0, 25, 20)),
        ((300, 1), (30, 30), (0, 14, 30, 15)),  # never less than one pixel
        ((1, 300), (30, 30), (14, 0, 15, 30)),
        ((7, 5), (33, 33), (0, 4, 33, 28)),
        ((40, 20), (20, 40), (0, 0, 40, 20)),  # no border
    ],
)
def test_the_borders_of_padding_are_even(
    size: tuple[int, int], wanted: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    pixels = to_input(Image.new("RGB", size, (200, 10, 50)), Fitting(wanted, 3, "pad"))
    left, top, right, bottom = box
    inside = torch.zeros(wanted, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert (pixels[:, inside] == torch.tensor([[200], [10], [50]])).all()
    assert (pixels[:, ~inside] == 128).all()


@pytest.mark.parametrize("shape", [(1, 1), (33, 32), (640, 480), (5, 90), (101, 50), (77, 9), (41, 44)])
@pytest.mark.parametrize("wanted", [(32, 32), (24, 48), (40, 8), (27, 35)])
def test_padding_is_pillows_to_the_bit(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape[::-1], 3), np.uint8))
    expected = ImageOps.pad(noise, wanted[::-1], color=(128, 128, 128))
    assert np.array_equal(to_input(noise, Fitting(wanted, 3, "pad")).permute(1, 2, 0), np.asarray(expected))
    grey = ImageOps.pad(noise.convert("L"), wanted[::-1], color=128)
    assert np.array_equal(to_input(noise, Fitting(wanted, 1, "pad"))[0], np.asarray(grey))


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wanted", [(32, 32), (24, 48), (40, 8)])
@pytest.mark.parametrize("shape", [(300, 140), (50, 400), (31, 33)])
def test_the_picture_shows_the_same_part_whatever_the_fit(
    shape: tuple[int, int], wanted: tuple[int, int], channels: int, fit: Fit
) -> None:
    fitting = Fitting(wanted, channels, fit)
    for image in (soft(*shape), turned(soft(*shape), 6), soft(*shape).convert("L")):
        view = view_of(image, fitting)
        assert view.pixels.shape == (channels, *wanted)
        assert torch.equal(view.pixels, to_input(image, fitting))
        assert view.picture.mode == "RGB"
        assert view.picture.size == picture_size(wanted)
        shrunk = np.asarray(view.picture.resize(wanted[::-1], Image.Resampling.BICUBIC), np.float64)
        difference = np.abs(shrunk - view.pixels.permute(1, 2, 0).numpy())
        assert difference.mean() < (8 if fit == "pad" else 4)  # shrinking blurs the edge of the borders
        assert np.median(difference) < 4


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_pixels_of_the_networks_size_are_kept(fit: Fit) -> None:
    """So that the test images of a dataset, which are fitted already, are what they are."""
    for channels, mode in ((1, "L"), (3, "RGB")):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).convert(mode)
        fitting = Fitting((20, 30), channels, fit)
        pixels = to_input(image, fitting)
        assert np.array_equal(pixels.permute(1, 2, 0).squeeze(2), np.asarray(image))
        assert torch.equal(to_input(to_picture(pixels), fitting), pixels)


def test_grey_is_pillows_luminance_and_grey_stays_itself() -> None:
    image = soft(30, 20)
    grey = to_input(image, Fitting((20, 30), channels=1))
    assert np.array_equal(grey[0], np.asarray(image.convert("L")))
    again = to_input(to_picture(grey), Fitting((20, 30), channels=3))
    assert torch.equal(again, grey.expand(3, -1, -1))
    assert torch.equal(to_input(to_picture(again), Fitting((20, 30), channels=1)), grey)


@pytest.mark.parametrize("kind", ["I;16", "I", "F"])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_deep_grey_is_scaled_from_the_range_of_the_dataset(kind: str, fit: Fit) -> None:
    values = np.array([[0, 100, 1100], [2100, 4100, 5000]])
    types = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    image = Image.fromarray(values.astype(types[kind]))
    assert image.mode == kind
    for channels in (1, 3):
        pixels = to_input(image, Fitting((2, 3), channels, fit, depth=(100.0, 4100.0)))
        assert pixels.tolist() == [[[0, 0, 64], [128, 255, 255]]] * channels
    eight_bits = Image.fromarray(np.array([[0, 100, 255]], np.uint8))
    assert to_input(eight_bits, Fitting((1, 3), 1, fit, depth=(100.0, 4100.0))).tolist() == [[[0, 100, 255]]]


def test_without_a_range_deep_grey_is_scaled_from_that_of_its_format() -> None:
    image = Image.fromarray(np.array([[0, 257, 65_535]], np.uint16))
    assert to_input(image, Fitting((1, 3), 1)).tolist() == [[[0, 1, 255]]]


def test_a_model_carries_how_its_images_are_fitted() -> None:
    model = build_model("tiny", in_channels=1, input_size=(20, 30))
    assert Fitting.of(model) == Fitting((20, 30), 1, "crop", None)
    model.fit, model.depth = "pad", (0.0, 4095.0)
    assert Fitting.of(model) == Fitting((20, 30), 1, "pad", (0.0, 4095.0))
