"""What is known of own images before training: counts, what is wrong with them, and all of it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from own_pictures import photos, write

from thimble.data.own.examination import Examination
from thimble.data.own.own_images import OwnImages
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")
PICTURES = list(photos(60).values())


def examined(root: Path, names: Mapping[str, int], **settings: object) -> Examination:
    """Examine a folder of so many different images in each of these folders."""
    pictures = iter(PICTURES)
    write(root, {f"{name}/{n}.png": next(pictures) for name, count in names.items() for n in range(count)})
    return OwnImages(root, ImagesConfig(**settings)).examine()  # type: ignore[arg-type]


def test_the_table_counts_each_image_once(tmp_path: Path) -> None:
    found = examined(tmp_path / "x", {"train/a": 9, "train/b": 5, "val/a": 2, "test/a": 3, "test/b": 4})
    table = found.table()
    assert {part: counts.tolist() for part, counts in table.items()} == {
        "train": [9, 5],
        "val": [2, 0],
        "test": [3, 4],
        "left out": [0, 0],
    }
    found.check()


def test_duplicates_are_left_out_or_kept(tmp_path: Path) -> None:
    root = tmp_path / "x"
    examined(root, {"train/a": 6, "train/b": 6, "test/a": 3, "test/b": 3})
    write(root, {"test/a/copy.png": PICTURES[0]})
    dropped = OwnImages(root).examine()
    assert dropped.table()["left out"].tolist() == [1, 0]
    assert dropped.table()["test"].tolist() == [4, 3]
    kept = OwnImages(root, ImagesConfig(duplicates="keep")).examine()
    assert (kept.table()["train"] + kept.table()["val"]).tolist() == [6, 6]
    assert not kept.table()["left out"].any()
    assert len(kept.duplicates.groups) == 1
    with pytest.raises(UserError, match="--duplicates refuse: 1 group of the same images in several parts"):
        OwnImages(root, ImagesConfig(duplicates="refuse")).examine()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"a": 8}, r"has images of 1 class \(a\): expected at least two"),
        (
            {"train/a": 5, "train/b": 5, "test/a": 2, "test/c": 2},
            r"no training images of class c: expected some of each",
        ),
        ({"test/a": 5, "test/b": 5}, r"x has no training images: expected some in a folder train"),
        ({"a": 1, "b": 1}, r"x has no test images: expected at least two images or groups of each class"),
        (
            {"train/a": 2, "train/b": 2, "test/c": 2, "test/d": 2},
            r"no training images of 2 classes: c, d: expected some",
        ),
        ({"a\x1b[2J": 8}, r"has images of 1 class \(a\\x1b\[2J\): expected at least two"),
    ],
)
def test_what_no_classifier_can_learn_from(tmp_path: Path, names: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        examined(tmp_path / "x", names).check()


def test_what_is_left_out_is_what_the_json_says(tmp_path: Path) -> None:
    root = tmp_path / "x"
    examined(root, {"train/a": 6, "train/b": 6, "val/a": 3, "val/b": 3, "test/a": 3, "test/b": 3})
    write(root, {"test/a/copy.png": PICTURES[0], "train/b/other.png": PICTURES[1]})
    for policy, left_out in (("drop", ["train/a/0.png", "train/a/1.png", "train/b/other.png"]), ("keep", [])):
        found = OwnImages(root, ImagesConfig(duplicates=policy)).examine()  # type: ignore[arg-type]
        told = json.loads(json.dumps(found.to_dict()))
        assert told["duplicates"]["left_out"] == left_out
        assert told["totals"]["left out"] == len(left_out)
        assert len(told["duplicates"]["groups"]) == 2
        assert sum(f"(--duplicates {policy})." in note for note in found.notes) == 2


def test_a_class_of_copies_keeps_its_training_images(tmp_path: Path) -> None:
    root = tmp_path / "x"
    examined(root, {"train/a": 6, "train/b": 2, "test/a": 3, "test/b": 3})
    write(root, {f"test/b/copy{n}.png": PICTURES[6 + n] for n in range(2)})
    found = OwnImages(root).examine()
    found.check()
    assert found.table()["train"].sum() + found.table()["val"].sum() == 8
    assert any("1 class would have no training images without their duplicates" in note for note in found.notes)


def test_a_class_that_only_the_test_lacks_is_told(tmp_path: Path) -> None:
    found = examined(tmp_path / "x", {"train/a": 5, "train/b": 5, "test/a": 12})
    found.check()
    assert any("fewer than 10 test images, class b the fewest (0)" in note for note in found.notes)


def test_all_of_it_is_json(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write(root, {"a/bad.png": b"bad", "a/note.txt": b"", "a/.hidden": b""})
    (root / "c").mkdir()
    found = json.loads(json.dumps(examined(root, {"a": 12, "b": 12}).to_dict()))
    assert found["num_images"] == 24
    assert found["classes"].keys() == {"a", "b"}
    assert found["totals"] == {part: sum(each[part] for each in found["classes"].values()) for part in found["totals"]}
    assert found["empty_classes"] == ["c"]
    assert found["unreadable"] == {"a/bad.png": "is not an image in a format that Thimble reads"}
    assert found["skipped"] == {"hidden": 1, "that are no images": 1}
    assert found["input"]["size"] == [64, 64]
    assert found["sizes"]["median"] == [70, 66]
    assert found["duplicates"]["groups"] == []


def test_parts_are_the_same_in_every_layout_and_process(tmp_path: Path) -> None:
    one = examined(tmp_path / "x", {"a": 20, "b": 20})
    other = examined(tmp_path / "y" / "deep", {"a": 20, "b": 20})
    assert one.parts == other.parts
    assert one.scan.checksum == other.scan.checksum
    assert np.array_equal(one.labels, other.labels)
