"""Labels of tables as class names."""

from __future__ import annotations

import math

import pytest

from thimble.data.own.labels import label_text
from thimble.errors import UserError


@pytest.mark.parametrize(
    ("value", "names", "expected"),
    [
        (1, ["a", "b"], "b"),
        (1.0, ["a", "b"], "b"),
        (-1, ["a", "b"], None),
        (-1, [], "-1"),
        ("b", ["a", "b"], "b"),
        (" two words ", [], "two words"),
        ("  ", [], None),
        (None, ["a"], None),
        (math.nan, [], None),
        (math.inf, [], "inf"),
        (7, [], "7"),
        (b"caf\xc3\xa9", [], "café"),
    ],
)
def test_values_that_are_labels(value: object, names: list[str], expected: str | None) -> None:
    assert label_text(value, names, "x") == expected


def test_values_that_are_none() -> None:
    with pytest.raises(UserError, match=r"^x has the label 2: expected one of its 2 classes, from 0$"):
        label_text(2, ["a", "b"], "x")
    with pytest.raises(UserError, match=r"^x has the label -2: expected one of its 2 classes, from 0$"):
        label_text(-2, ["a", "b"], "x")
    with pytest.raises(UserError, match=r"^x has the label \[0\]: expected one class name or number$"):
        label_text([0], ["a", "b"], "x")
