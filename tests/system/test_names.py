"""Names from outside, as a terminal can show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from thimble.system.names import shown


@pytest.mark.parametrize("name", ["photo.jpg", "a b", "[/red]", "back\\slash", "Größe", "写真.png", "👩\u200d🚀", "é"])
def test_what_can_be_printed_stays_as_it_is(name: str) -> None:
    assert shown(name) == name
    assert shown(Path(name)) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\nb", r"a\nb"),
        ("a\rb\tc", r"a\rb\tc"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),  # an escape sequence in one character
        ("gpj.\u202eexe", r"gpj.\u202eexe"),  # turns the direction of writing
        ("a\u2028b", r"a\u2028b"),
        ("a\x00b", r"a\x00b"),
        ("a\udcff.png", r"a\xff.png"),  # os.fsdecode(b"a\xff.png")
        ("a\ud800", r"a\ud800"),
        ("\ufeffa", r"\ufeffa"),
    ],
)
def test_what_cannot_is_escaped(name: str, expected: str) -> None:
    assert shown(name) == expected
    assert shown(name).isprintable()
    shown(name).encode()
