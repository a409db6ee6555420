"""How an image is fitted, in words."""

from __future__ import annotations

import pytest

from thimble.data.instructions import instructions
from thimble.data.pixels import Fitting


@pytest.mark.parametrize(
    ("fitting", "facts"),
    [
        (Fitting((24, 48)), ["convert it to RGB", "centred part of 48:24", "resize that to 48x24 (width x height)"]),
        (Fitting((28, 28), 1, "pad"), ["convert it to grey", "to fit into 28x28", "grey of 128"]),
        (Fitting((8, 8), 1, "squash", (10.0, 4095.0)), ["all of it to 8x8", "so that 10 becomes 0 and 4095 becomes"]),
    ],
)
def test_it_is_one_sentence_with_all_that_matters(fitting: Fitting, facts: list[str]) -> None:
    words = instructions(fitting)
    assert "\n" not in words
    assert words.isascii()
    for fact in (*facts, "EXIF", "over white", "bicubic with antialiasing"):
        assert fact in words
