"""Folders of parts are understood whatever they are called, wherever they are, and whatever is beside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from own_layouts import listed, summary

from thimble.errors import UserError

PARTS = {
    "train": ["train", "training", "Train_Images", "train2017", "TRAIN-set", "trn"],
    "val": ["val", "valid", "validation", "dev", "Val Data", "val2017"],
    "test": ["test", "testing", "Test_Set", "eval"],
}


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in PARTS.items() for name in names])
def test_the_parts_have_many_names(tmp_path: Path, part: str, name: str) -> None:
    other = "test" if part == "train" else "train"
    found = listed(tmp_path / "x", [f"{name}/a/1.png", f"{name}/b/2.png", f"{other}/a/3.png", f"{other}/b/4.png"])
    assert {entry.part for entry in found.entries if entry.name.startswith(f"{name}/")} == {part}
    assert found.classes == ("a", "b")
    assert other in found.layout
    assert name in found.layout


def test_eval_beside_test_validates(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", [f"{part}/{label}/1.png" for part in ("train", "eval", "test") for label in "ab"])
    assert [entry.part for entry in found.entries] == ["val", "val", "test", "test", "train", "train"]


def test_parts_whose_names_begin_alike_and_are_repeated(tmp_path: Path) -> None:
    names = [f"seg_{part}/seg_{part}/{label}/1.png" for part in ("train", "test") for label in ("sea", "wood")]
    found = listed(tmp_path / "x", [*names, "seg_pred/seg_pred/1.png", "seg_pred/seg_pred/2.png"])
    assert [(entry.label, entry.part) for entry in found.entries] == [
        *(("sea", "test"), ("wood", "test"), ("sea", "train"), ("wood", "train"))
    ]
    assert found.skipped == {"outside the parts": 2}
    assert found.layout == "class folders in seg_train and seg_test"


def test_a_test_part_without_labels_and_more_folders(tmp_path: Path) -> None:
    names = ["Train/0/a.png", "Train/1/a.png", "Test/a.png", "Meta/0.png", "Train.csv", "Test.csv"]
    found = listed(tmp_path / "x", names)
    assert [(entry.label, entry.part) for entry in found.entries] == [("0", "train"), ("1", "train")]
    assert found.skipped == {"beside the class folders": 1, "outside the parts": 1}


def test_a_test_part_without_labels(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["train/cat/1.jpg", "train/dog/2.jpg", "test/3.jpg", "test/4.jpg"])
    assert summary(found) == [("train/cat/1.jpg", "cat", "train"), ("train/dog/2.jpg", "dog", "train")]
    assert found.skipped == {"beside the class folders": 2}


@pytest.mark.parametrize(
    "names", [["train/1.jpg", "test/2.jpg"], ["train/1.jpg"], ["set/Train/1.jpg", "set/val/1.jpg"]]
)
def test_parts_without_classes(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"/x has images directly in .*rain.*, without class folders: expected a folder for each class"
    ) as found:
        listed(tmp_path / "x", names)
    assert "manifest" not in str(found.value)
    with pytest.raises(UserError, match=r"^x has 2 manifests, a.csv, b.csv: expected --data /.*/x/a.csv$"):
        listed(tmp_path / "x", ["a.csv", "b.csv"])


def test_only_some_folders_are_called_like_parts(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["cat/train/1.png", "cat/2.png", "dog/train/3.png"])
    assert found.classes == ("cat", "dog")
    assert {entry.part for entry in found.entries} == {None}
    found = listed(tmp_path / "y", ["train/1.jpg", "tram/2.jpg"])
    assert found.classes == ("train", "tram")


def test_two_folders_of_the_same_part(tmp_path: Path) -> None:
    found = listed(
        tmp_path / "x", [f"{part}/{label}/1.png" for part in ("train_1", "train_2", "dev") for label in "ab"]
    )
    assert Counter(entry.part for entry in found.entries) == {"train": 4, "val": 2}
    assert found.layout == "class folders in train_1, train_2 and dev"


def test_parts_inside_each_class(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", [f"{label}/{part}/1.png" for part in ("train", "test") for label in ("cat", "dog")])
    assert summary(found) == [
        ("cat/test/1.png", "cat", "test"),
        ("cat/train/1.png", "cat", "train"),
        ("dog/test/1.png", "dog", "test"),
        ("dog/train/1.png", "dog", "train"),
    ]


def test_classes_that_are_called_like_parts(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["train/1.jpg", "bus/1.jpg", "test/1.jpg"])
    assert found.classes == ("bus", "test", "train")
    nested = listed(tmp_path / "y", ["train/left/1.jpg", "bus/left/1.jpg"])
    assert nested.classes == ("bus", "train")


def test_folders_beside_the_parts_are_no_classes(tmp_path: Path) -> None:
    found = listed(tmp_path / "x", ["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png", "icons/i.png"])
    assert found.classes == ("a", "b")
    assert found.skipped == {"outside the parts": 1}
