"""Size, fit, channels and depth follow from the images, and each choice says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thimble.data.own.facts import COLOURED, GREY, UNKNOWN, Facts, unknown
from thimble.data.own.fitting_rules import choose_fitting, given_fitting
from thimble.data.own.settings import ImagesConfig
from thimble.data.pixels import Fitting


def facts(sizes: list[tuple[int, int]], **fields: Any) -> Facts:
    """Facts of grey images of these (width, height)."""
    found = unknown(len(sizes))
    found["width"], found["height"] = np.array(sizes).T
    found["colour"] = GREY
    for name, value in fields.items():
        found[name] = value
    return found


def size_of(sizes: list[tuple[int, int]]) -> int:
    return choose_fitting(facts(sizes), ImagesConfig())[0].size[0]


@pytest.mark.parametrize(
    ("side", "expected"),
    [(4000, 128), (128, 128), (127, 96), (96, 96), (80, 64), (64, 64), (50, 48), (47, 32), (32, 32)],
)
def test_the_size_is_the_largest_that_the_images_bear(side: int, expected: int) -> None:
    assert size_of([(2 * side, side)] * 10) == expected
    assert size_of([(side, 2 * side)] * 10) == expected


def test_one_image_in_ten_may_be_smaller() -> None:
    assert size_of([(200, 200)] * 9 + [(40, 40)]) == 128
    assert size_of([(200, 200)] * 8 + [(40, 40)] * 2) == 32


@pytest.mark.parametrize(("side", "expected"), [(28, 28), (31, 31), (8, 8), (5, 8), (1, 8)])
def test_images_below_32_pixels_keep_their_size(side: int, expected: int) -> None:
    assert size_of([(side, side)] * 10) == expected


def test_a_few_tiny_images_do_not_raise_the_size_beyond_32() -> None:
    assert size_of([(500, 500)] * 8 + [(10, 10)] * 2) == 32


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(100, 100)] * 10, "crop"),
        ([(100, 92)] * 9 + [(100, 30)], "crop"),
        ([(100, 92)] * 8 + [(100, 60)] * 2, "pad"),
        ([(400, 300)] * 10, "squash"),
        ([(300, 400)] * 10, "squash"),
        ([(400, 300)] * 5 + [(300, 400)] * 5, "pad"),
        ([(400, 300)] * 5 + [(400, 280)] * 5, "squash"),
        ([(1000, 10)] + [(400, 300)] * 19, "squash"),
    ],
)
def test_the_fit_follows_from_the_aspect_ratios(sizes: list[tuple[int, int]], expected: str) -> None:
    fitting, reasons = choose_fitting(facts(sizes), ImagesConfig())
    assert fitting.fit == expected
    assert reasons["fit"].startswith((f"{expected}: a square cuts off ", "crop: the images are square."))


def test_channels_follow_from_the_colours() -> None:
    grey = facts([(64, 64)] * 3)
    assert choose_fitting(grey, ImagesConfig())[0].channels == 1
    grey["colour"][1] = UNKNOWN
    assert choose_fitting(grey, ImagesConfig())[0].channels == 1
    grey["colour"][1] = COLOURED
    fitting, reasons = choose_fitting(grey, ImagesConfig())
    assert (fitting.channels, reasons["channels"]) == (3, "3: there are images with colours.")


def test_one_range_of_depth_holds_for_all_deep_images() -> None:
    found = facts([(64, 64)] * 3, deep=[False, True, True], low=[0, 100, 50], high=[0, 900, 4095])
    fitting, reasons = choose_fitting(found, ImagesConfig())
    assert fitting.depth == (50.0, 4095.0)
    assert reasons["depth"].startswith("50 to 4,095: the lowest 0.1th and the highest 99.9th percentile")
    assert "in 2 images" in reasons["depth"]


def test_deep_images_without_contrast_have_no_range() -> None:
    fitting, reasons = choose_fitting(facts([(64, 64)], deep=True, low=7, high=7), ImagesConfig())
    assert fitting.depth is None
    assert "no contrast" in reasons["depth"]


def test_what_is_asked_for_is_done() -> None:
    config = ImagesConfig(image_size=40, fit="pad", channels=3)
    fitting, reasons = choose_fitting(facts([(200, 200)] * 3), config)
    assert fitting == Fitting((40, 40), 3, "pad")
    assert [reasons[name] for name in ("image_size", "fit", "channels")] == [
        "40 pixels: as asked.",
        "pad: as asked.",
        "3: as asked.",
    ]


def test_every_reason_is_a_sentence() -> None:
    for sizes in ([(28, 28)] * 3, [(400, 300)] * 3, [(64, 64)] * 10 + [(20, 20)]):
        for found in (choose_fitting(facts(sizes), ImagesConfig())[1], given_fitting(Fitting((32, 40), depth=(0, 9)))):
            assert list(found) == ["image_size", "fit", "channels", "depth"]
            assert all(reason.endswith(".") and "\n" not in reason for reason in found.values())
    assert given_fitting(Fitting((32, 40)))["image_size"] == "40x32 pixels: as the model was trained."
