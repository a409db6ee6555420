"""One function reads images: the scan's pixels are those of predict, for every kind of file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_folders import FolderFiles
from own_pictures import bad, encoded, kinds, soft, write
from PIL import Image

from thimble.data.image_files import read_image
from thimble.data.own.decoding import Decode, ReadHeaders, digest_of
from thimble.data.own.facts import COLOURED, FACTS, GREY
from thimble.data.own.listing import Files
from thimble.data.pixels import Fit, Fitting, to_input
from thimble.errors import UserError

CHOICES = [(channels, fit) for channels in (1, 3) for fit in ("crop", "pad", "squash")]


@pytest.mark.parametrize(("channels", "fit"), CHOICES)
@pytest.mark.parametrize("depth", [None, (100.0, 4000.0)])
def test_the_pixels_are_those_of_predict(
    tmp_path: Path, channels: int, fit: Fit, depth: tuple[float, float] | None
) -> None:
    files = kinds()
    write(tmp_path, files)
    fitting = Fitting((24, 32), channels, fit, depth)
    outcomes = Decode(FolderFiles(tmp_path), fitting)(list(files))
    for (name, content), outcome in zip(files.items(), outcomes, strict=True):
        path = tmp_path / name
        assert outcome.reason == "", name
        assert outcome.pixels is not None
        assert np.array_equal(outcome.pixels, to_input(read_image(path, fitting), fitting)), name
        assert outcome.digest == hashlib.sha256(content).digest()


def test_facts_by_headers_and_by_pixels(tmp_path: Path) -> None:
    files = kinds()
    write(tmp_path, files)
    names = list(files)
    seen = np.array([outcome.facts for outcome in ReadHeaders(FolderFiles(tmp_path))(names)], FACTS)
    found = np.array([each.facts for each in Decode(FolderFiles(tmp_path), Fitting((32, 32), 1))(names)], FACTS)
    for field in ("width", "height", "deep", "low", "high"):
        assert np.array_equal(seen[field], found[field]), field
    sizes = dict(zip(names, zip(found["width"].tolist(), found["height"].tolist(), strict=True), strict=True))
    assert sizes["large-turned.jpg"] == (1300, 1700)
    assert sizes["turned-7.jpg"] == (60, 90)
    assert sizes["turned-4.jpg"] == (90, 60)
    grey = {name for name, colour in zip(names, found["colour"].tolist(), strict=True) if colour == GREY}
    assert grey == {
        "grey.png", "la.png", "bits.png", "deep.png", "deep.tiff", "float.tiff", "grey.jpg"
    }  # fmt: skip
    assert {name for name, is_deep in zip(names, found["deep"], strict=True) if is_deep} == {
        "deep.png",
        "deep.tiff",
        "float.tiff",
    }


def test_colour_is_found_in_the_pixels(tmp_path: Path) -> None:
    grey = soft(40, 40).convert("L").convert("RGB")
    coloured = grey.copy()
    coloured.putpixel((20, 20), (255, 0, 0))
    write(tmp_path, {"grey.png": encoded(grey, "PNG"), "coloured.png": encoded(coloured, "PNG")})
    for channels in (1, 3):
        outcomes = Decode(FolderFiles(tmp_path), Fitting((40, 40), channels))(["grey.png", "coloured.png"])
        assert [outcome.facts[2] for outcome in outcomes] == [GREY, COLOURED]


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    files = write(tmp_path / "a b", bad())
    (files / "folder.png").mkdir()
    names = [*bad(), "gone.png", "folder.png"]
    found = dict(zip(names, (each.reason for each in Decode(FolderFiles(files), Fitting((8, 8)))(names)), strict=True))
    assert found.pop("cut.jpg").startswith("is a damaged or truncated image (image file is truncated")
    assert found.pop("cut.png").startswith("is a damaged or truncated image (")
    assert found == {
        "text.jpg": "is not an image in a format that Thimble reads",
        "page.png": "is not an image in a format that Thimble reads",
        "empty.jpg": "is empty",
        "gone.png": "does not exist",
        "folder.png": "is a folder",
    }
    headers = ReadHeaders(FolderFiles(files))(names)
    assert [outcome.reason for outcome in headers][2:] == list(found.values())


class Plain(Files):
    """A source of images that were never files, or of errors."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def read(self, name: str) -> bytes | Image.Image:
        if isinstance(self.found, Exception):
            raise self.found
        image: Image.Image = self.found
        return image


def test_an_image_that_was_no_file_is_fitted_alike() -> None:
    fitting = Fitting((24, 32))
    (outcome,) = Decode(Plain(soft(90, 60)), fitting)(["row 7"])
    assert outcome.pixels is not None
    assert np.array_equal(outcome.pixels, to_input(soft(90, 60), fitting))
    assert outcome.digest == digest_of(soft(90, 60)) != digest_of(soft(60, 90))
    assert ReadHeaders(Plain(soft(90, 60)))(["row 7"])[0].facts[:2] == (90, 60)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("/data/cats/a.png does not exist: expected a file"), "does not exist"),
        (UserError("cannot open /data/cats/a.png: Permission denied; expected a readable file"), "Permission denied"),
        (UserError("the archive is damaged: expected a whole one"), "the archive is damaged"),
        (ValueError("no such\nmember"), "is a damaged or truncated image (no such member)"),
        (MemoryError(), "needs more memory than this machine has"),
    ],
)
def test_whatever_reading_raises_is_a_reason(error: Exception, reason: str) -> None:
    for work in (Decode(Plain(error), Fitting((8, 8))), ReadHeaders(Plain(error))):
        assert [outcome.reason for outcome in work(["cats/a.png"])] == [reason]


def test_known_contents_are_not_decoded(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": encoded(soft(9, 9), "PNG"), "b.png": encoded(soft(9, 9, 1), "PNG")})
    known = hashlib.sha256((tmp_path / "a.png").read_bytes()).digest()
    first, second = Decode(FolderFiles(tmp_path), Fitting((8, 8)), frozenset({known}))(["a.png", "b.png"])
    assert (first.digest, first.pixels, first.reason) == (known, None, "")
    assert second.pixels is not None


def test_the_work_needs_no_pytorch() -> None:
    code = "import sys, thimble.data.own.workers; assert 'numpy' in sys.modules; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
