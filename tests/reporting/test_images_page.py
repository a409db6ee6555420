"""The page on own images shows all that matters, needs nothing else, and takes names for text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from own_messy import messy_folder
from own_pictures import encoded, photos, soft, write

from thimble.data.own.own_images import OwnImages
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError
from thimble.reporting.images_page import write_images_page

pytestmark = pytest.mark.usefixtures("own_cache")


def page_of(root: Path, **settings: object) -> str:
    output = root.parent / "page.html"
    write_images_page(OwnImages(root, ImagesConfig(**settings)).examine(), output)  # type: ignore[arg-type]
    return output.read_text(encoding="utf-8")


def test_everything_is_shown(tmp_path: Path) -> None:
    text = page_of(messy_folder(tmp_path / "messy photos"))
    for expected in (
        "<h1>messy photos</h1>",
        "class folders in train and val",
        "left out of training",
        "The same in several parts",
        "train/2/cut.jpg",
        "of the operating system",
        'class="text">cat</th>',
        'class="text">empty</th>',
    ):
        assert expected in text
    assert len(re.findall(r"<img [^>]*alt=\"[^\"]+\"", text)) == text.count("<img ")
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "<script" not in text
    assert len(text) < 1_000_000


def test_the_sizes_are_those_of_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few of them are drawn."""
    monkeypatch.setattr("thimble.reporting.image_samples._MOST_POINTS", 2)
    root = write(tmp_path / "photos", {**photos(6, 50, 60), "cat/wide.png": encoded(soft(90, 40), "PNG")})
    write(root, {"dog/high.png": encoded(soft(55, 99), "PNG"), "dog/flat.png": encoded(soft(52, 33), "PNG")})
    assert "from 50 x 33 to 90 x 99" in page_of(root)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_the_fit_is_drawn(tmp_path: Path, fit: str) -> None:
    root = write(tmp_path / "x", photos(6, 90, 60) | {f"wide/{n}": c for n, c in enumerate_wide()})
    text = page_of(root, fit=fit, image_size=32)
    sentence = {"crop": "the rest is cut off", "pad": "between grey borders", "squash": "squashed"}[fit]
    assert sentence in text
    assert "wide/wide.png, 300x40" in text


def enumerate_wide() -> list[tuple[str, bytes]]:
    return [("wide.png", next(iter(photos(1, 300, 40).values())))]


def test_names_are_text(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>&"
    root = write(
        tmp_path / "x",
        {f"{label}/{n}.png": c for label in (name.replace("/", "|"), "b") for n, c in enumerate(photos(5).values())},
    )
    text = page_of(root)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;|script&gt;&amp;" in text


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    found = OwnImages(write(tmp_path / "x", photos(6))).examine()
    (tmp_path / "page.html").mkdir()
    with pytest.raises(UserError, match=r"page\.html"):
        write_images_page(found, tmp_path / "page.html")
