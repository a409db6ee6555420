"""Which files of a folder are taken for images, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thimble.data.image_paths import composed, images_in, natural
from thimble.errors import UserError


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_are_found_at_any_depth_in_natural_order(tmp_path: Path) -> None:
    images = ["2/b.JPG", "10/a.webp", "10/a.png.tiff", "img1.png", "img2.png", "img10.png", "Zoë 猫.jpeg"]
    fill(tmp_path, *images, "notes.txt", "labels.csv", "no ending", "Thumbs.db", "2/model.safetensors")
    fill(tmp_path, ".hidden.png", ".ipynb_checkpoints/x.png", "__MACOSX/2/._b.png", "2/.DS_Store")
    found = [path.relative_to(tmp_path).as_posix() for path in images_in(tmp_path)]
    assert found == [
        *("2/b.JPG", "10/a.png.tiff", "10/a.webp"),
        *("img1.png", "img2.png", "img10.png", "Zoë 猫.jpeg"),
    ]


def test_links_to_files_are_followed_and_to_folders_not(tmp_path: Path) -> None:
    fill(tmp_path, "data/a.png")
    (tmp_path / "data" / "b.png").symlink_to(tmp_path / "data" / "a.png")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    assert [path.name for path in images_in(tmp_path / "data")] == ["a.png", "b.png"]


def test_a_folder_without_images_is_the_users_mistake(tmp_path: Path) -> None:
    fill(tmp_path, "notes.txt", ".hidden.png")
    with pytest.raises(UserError, match=r"has no images: expected files with endings such as \.jpg"):
        images_in(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_the_users_mistake(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(UserError, match=r"cannot read .*closed: Permission denied"):
            images_in(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_numbers_are_sorted_by_their_value() -> None:
    names = ["10", "9", "a10", "a9b", "a9", "B1", "", "a" + "1" * 9000, "²", "٣"]
    assert sorted(names, key=natural) == ["", "9", "10", "a9", "a9b", "a10", "a" + "1" * 9000, "B1", "²", "٣"]


def test_an_accent_is_a_part_of_its_letter() -> None:
    assert [composed(name) for name in ("Cafe\u0301", "Caf\xe9", "plain", "\udcff", "")] == [
        *("Caf\xe9", "Caf\xe9", "plain", "\udcff", "")
    ]
