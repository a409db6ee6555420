"""What is noted of an image: upright size, colour, depth."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from thimble.data.own.facts import COLOURED, FACTS, GREY, UNKNOWN, depth_range, facts_of, has_colour


@pytest.mark.parametrize(
    ("mode", "colour", "deep"),
    [
        *((mode, GREY, False) for mode in ("1", "L", "LA")),
        *((mode, UNKNOWN, False) for mode in ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")),
        *((mode, GREY, True) for mode in ("I;16", "I", "F")),
    ],
)
def test_modes_tell_grey_and_depth(mode: str, colour: int, deep: bool) -> None:
    found = np.array([facts_of(Image.new(mode, (6, 4)), (6, 4))], FACTS)[0]
    assert (found["width"], found["height"], found["colour"], found["deep"]) == (6, 4, colour, deep)


@pytest.mark.parametrize("orientation", range(9))
def test_sizes_are_upright(orientation: int) -> None:
    image = Image.new("L", (6, 4))
    image.getexif()[0x0112] = orientation
    assert facts_of(image, (600, 400))[:2] == ((400, 600) if orientation >= 5 else (600, 400))


@pytest.mark.parametrize("kind", ["<u2", ">u2", "i4", "f4"])
def test_the_range_leaves_out_a_thousandth_at_each_end(kind: str) -> None:
    values = np.arange(10_000, dtype=np.float64)
    np.random.default_rng(0).shuffle(values)
    array = values.reshape(100, 100).astype(kind)
    low, high = depth_range(
        Image.frombytes("I;16B", (100, 100), array.tobytes()) if kind == ">u2" else Image.fromarray(array)
    )
    assert low == pytest.approx(10, abs=1)
    assert high == pytest.approx(9_989, abs=1)


def test_the_range_of_a_large_image_comes_from_a_part_of_its_pixels() -> None:
    values = np.random.default_rng(0).integers(0, 4096, (1500, 1400), dtype=np.uint16)
    low, high = depth_range(Image.fromarray(values))
    assert low == pytest.approx(4, abs=2)
    assert high == pytest.approx(4091, abs=2)


def test_values_that_are_no_numbers_count_as_zero() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 0.0]], np.float32)
    assert depth_range(Image.fromarray(values)) == (0.0, 0.0)


def test_one_coloured_pixel_is_colour() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 5, 5), np.uint8).repeat(3, 0)
    assert not has_colour(pixels)
    pixels[2, 4, 4] ^= 1
    assert has_colour(pixels)
    assert COLOURED not in (GREY, UNKNOWN)
