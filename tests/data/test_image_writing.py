"""Pictures are written in the format that their name says, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from image_samples import halves
from PIL import Image

from thimble.data.image_files import save_image
from thimble.errors import RunError, UserError


@pytest.mark.parametrize(("name", "kind"), [("x.png", "PNG"), ("x.JPG", "JPEG"), ("new/folder/x.webp", "WEBP")])
def test_an_image_is_written_in_the_format_that_its_ending_says(tmp_path: Path, name: str, kind: str) -> None:
    save_image(halves(), tmp_path / name)
    with Image.open(tmp_path / name) as written:
        assert (written.format, written.size) == (kind, (40, 20))


@pytest.mark.parametrize("name", ["x", "x.nothing", "folder.png"])
def test_an_image_that_cannot_be_named_so_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*expected the name of a file") as caught:
        save_image(halves(), tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_full_disk_leaves_the_image_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "x.png").write_text("the old one")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device; free some space"):
        save_image(halves(), tmp_path / "x.png")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old one"]
