"""The settings for own images refuse what makes no sense; class names may come from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError


def test_class_names_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfcat\r\n\r\n  dog \nT-Shirt\n")
    assert ImagesConfig(classes=(str(path),)).classes == ("cat", "dog", "T-Shirt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"expected at least two classes, or a file with a name on each line"),
        (b"cat\n", r"has 1 names: expected at least two, one on each line"),
        (b"caf\xe9\ndog\n", r"is not UTF-8: expected a file with a name on each line"),
        (b"cat\ncat\n", r"expected names, all different"),
    ],
)
def test_files_that_name_no_classes(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        ImagesConfig(classes=(str(path),))


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 7},
        {"image_size": 257},
        {"channels": 2},
        {"class_level": -1},
        {"group": ""},
        {"classes": ("a", "b", "a")},
        {"fit": "zoom"},
        {"duplicates": "maybe"},
        {"max_unreadable": 1.5},
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=next(iter(settings)).replace("_", "."), check=lambda error: "expected" in str(error)
    ):
        ImagesConfig(**settings)
