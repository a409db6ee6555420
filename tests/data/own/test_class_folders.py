"""Class folders are understood however deep they are, and whatever their parts are called."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from own_layouts import listed, lock_folder, made, summary

from thimble.data.own.layouts import read_listing
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError


def test_folders_are_classes_in_natural_order(tmp_path: Path) -> None:
    found = listed(tmp_path / "photos", ["10/a.jpg", "2/a10.png", "2/a9.PNG", "1/a.webp", "Cat/b.JPEG"])
    assert found.classes == ("1", "2", "10", "Cat")
    assert [entry.name for entry in found.entries] == ["1/a.webp", "2/a9.PNG", "2/a10.png", "10/a.jpg", "Cat/b.JPEG"]
    assert {entry.part for entry in found.entries} == {None}
    assert (found.title, found.place, found.layout) == ("photos", str(tmp_path / "photos"), "class folders")


def test_wrapping_folders_are_looked_through(tmp_path: Path) -> None:
    names = ["photos/v1/a/1.jpg", "photos/v1/b/2.jpg", "__MACOSX/photos/v1/a/._1.jpg", "photos/v1/c/"]
    found = listed(tmp_path / "x", names)
    assert summary(found) == [("photos/v1/a/1.jpg", "a", None), ("photos/v1/b/2.jpg", "b", None)]
    assert found.classes == ("a", "b", "c")
    assert found.skipped == {"of the operating system": 1}


@pytest.mark.parametrize("wrap", ["set/", "a b/c/d/"])
@pytest.mark.parametrize("part", ["", "train/"])
def test_a_wrapping_folder_with_an_image_in_it(tmp_path: Path, wrap: str, part: str) -> None:
    found = listed(tmp_path / "x", [f"{wrap}{part}{label}/1.png" for label in "ab"] + [f"{wrap}logo.png"])
    assert found.classes == ("a", "b")
    assert sum(found.skipped.values()) == 1


def test_the_only_class_is_no_wrapping_folder(tmp_path: Path) -> None:
    assert listed(tmp_path / "x", ["cat/1.jpg", "cat/more/2.jpg"]).classes == ("cat",)


NESTED = ["Fruit/Apple/Fuji/1.jpg", "Fruit/Lemon/1.jpg", "Milk/Oat/1.jpg", "beside.jpg"]


@pytest.mark.parametrize(
    ("level", "classes", "beside"),
    [
        (None, ("Fruit", "Milk"), 1),
        (2, ("Apple", "Lemon", "Oat"), 1),
        (3, ("Fuji",), 3),
        (0, ("Fuji", "Lemon", "Oat"), 1),
    ],
)
def test_the_level_of_the_classes(tmp_path: Path, level: int | None, classes: tuple[str, ...], beside: int) -> None:
    found = listed(tmp_path / "x", NESTED, class_level=level)
    assert found.classes == classes
    assert found.skipped["beside the class folders"] == beside
    assert any("--class-level 0 takes the 3 folders" in note for note in found.notes) == (level is None)


def test_a_level_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no images 4 folders deep: expected --class-level from 1 to 3, or 0"):
        listed(tmp_path / "x", NESTED, class_level=4)


def test_names_that_clash_become_paths(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["Greek/c1/1.png", "Latin/c1/1.png", "Latin/c2/1.png"], class_level=2)
    assert found.classes == ("Greek/c1", "Latin/c1", "Latin/c2")


def test_a_class_at_different_places_in_the_parts_is_one_class(tmp_path: Path) -> None:
    names = ["train/Veg/Cap/1.jpg", "train/Veg/Leek/1.jpg", "test/Veg/Mushroom/Cap/1.jpg", "test/Veg/Leek/1.jpg"]
    found = listed(tmp_path / "x", names, class_level=0)
    assert found.classes == ("Cap", "Leek")
    assert Counter(entry.label for entry in found.entries) == {"Cap": 2, "Leek": 2}
    assert any("Class Cap is in different places in the parts" in note for note in found.notes)


def test_the_only_class_may_have_classes(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["cat/1.jpg", "cat/grey/2.jpg"])
    assert found.classes == ("cat",)
    assert found.notes == (
        "The first folder is the only class; --class-level 0 takes the 2 folders that hold the images.",
    )


def test_leaves_without_images_are_classes_too(tmp_path: Path) -> None:
    names = ["train/A/a/1.png", "train/A/b/1.png", "train/A/c/", "val/B/d/", "val/A/a/1.png", "val/B/"]
    assert listed(tmp_path / "x", names, class_level=0).classes == ("a", "b", "c", "d")
    assert listed(tmp_path / "x", names, class_level=2).classes == ("a", "b", "c", "d")
    assert listed(tmp_path / "x", names).classes == ("A", "B")


def test_accents_are_the_same_however_they_are_stored(tmp_path: Path) -> None:
    found = listed(
        tmp_path / "x", ["train/Cafe\u0301/1.png", "train/Tee/1.png", "test/Caf\xe9/1.png", "test/Tee/1.png"]
    )
    assert found.classes == ("Café", "Tee")
    assert found.notes == ()
    assert Counter(entry.label for entry in found.entries) == {"Café": 2, "Tee": 2}


def test_a_table_beside_the_class_folders_is_told(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["a/1.png", "b/1.png", "classes.csv"])
    assert found.notes == ("classes.csv is not used: the folders' names are the labels.",)
    found = listed(tmp_path / "x", ["more\n.tsv"])
    assert found.notes == ("classes.csv and 1 more are not used: the folders' names are the labels.",)


def test_empty_classes_are_classes(tmp_path: Path) -> None:
    found = listed(
        tmp_path / "x", ["train/a/1.png", "train/b/1.png", "train/c/", "val/a/1.png", "val/d/", ".git/x.png"]
    )
    assert found.classes == ("a", "b", "c", "d")
    assert found.skipped == {"hidden": 1}


def test_classes_that_differ_in_upper_case_are_told(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["train/Cat/1.png", "test/cat/1.png"])
    assert found.classes == ("Cat", "cat")
    assert found.notes == ("Classes 'Cat' and 'cat' differ only in upper case or spaces: two classes.",)


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/Thumbs.db", "a/.DS_Store", "b/1.jpg", "b/notes.txt", "readme", ".ipynb_checkpoints/a/1.jpg"]
    found = listed(tmp_path / "x", names)
    assert found.skipped == {"of the operating system": 1, "hidden": 2, "that are no images": 2}


def test_odd_names_stay_as_they_are(tmp_path: Path) -> None:
    names = ["a b & c/ü\n1.png", "-x/[1].png", os.fsdecode(b"\xff/1.png")]
    assert {entry.name for entry in listed(tmp_path / "x", names).entries} == set(names)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    made(tmp_path / "far", ["1.png"])
    root = made(tmp_path / "x", ["a/1.png", "b/1.png"])
    (root / "c").symlink_to(tmp_path / "far")
    (root / "a" / "up").symlink_to(root)
    (root / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    found = read_listing(root, ImagesConfig())
    assert [entry.name for entry in found.entries] == ["a/1.png", "b/1.png", "b/gone.png", "c/1.png"]
    assert found.skipped == {"links to a folder that contains them": 1}


@pytest.mark.parametrize("names", [[], ["a/", "b/"], ["a/notes.txt"]])
def test_no_images(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(UserError, match=r"^.*/x has no images.*: expected files with endings such as .jpg or .png"):
        listed(tmp_path / "x", [*names, ".hidden"])


def test_one_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/x has one image and no folders with images: expected a folder for each cl"):
        listed(tmp_path / "x", ["1.jpg"])


def test_one_folder_is_one_class(tmp_path: Path) -> None:
    assert listed(tmp_path / "x", ["photos/1.jpg", "photos/2.jpg"]).classes == ("photos",)
    assert listed(tmp_path / "y", ["all/photos/1.jpg", "all/photos/2.jpg"]).classes == ("photos",)


def test_messages_are_one_line_whatever_the_names(tmp_path: Path) -> None:
    with pytest.raises(UserError) as found:
        listed(tmp_path / "a\nb\x1b[2J", ["1.jpg"])
    assert "\n" not in str(found.value)
    assert "\x1b" not in str(found.value)


def test_images_without_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 2 images and no folders with images: expected a folder for each class$"):
        listed(tmp_path / "x", ["1.jpg", "2.jpg"])


def test_an_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path / "x", ["a/1.jpg", "b/1.jpg"])
    lock_folder(monkeypatch, "/b")
    with pytest.raises(UserError, match=r"^cannot read .*/x/b: Permission denied; expected a readable folder$"):
        read_listing(root, ImagesConfig())


def test_a_changed_file_has_another_signature(tmp_path: Path) -> None:
    root = made(tmp_path / "x", ["a/1.jpg", "b/1.jpg"])
    before = read_listing(root, ImagesConfig()).entries
    (root / "a" / "1.jpg").write_bytes(b"1")
    after = read_listing(root, ImagesConfig()).entries
    assert before[0].signature != after[0].signature
    assert before[1].signature == after[1].signature
