"""Sources: what ``data`` may be, and which images do not fit each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_network import tiny

from thimble.data.cifar10 import Cifar10
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import Shapes10
from thimble.data.source import Given
from thimble.data.sources import SOURCES, find_source, known_source, recorded_source
from thimble.data.split import hold_out
from thimble.errors import UserError


def images(num_images: int = 6, classes: tuple[str, ...] = ("a", "b"), side: int = 8) -> ImageDataset:
    pixels = torch.zeros(num_images, 3, side, side, dtype=torch.uint8)
    return ImageDataset("mine", pixels, torch.arange(num_images) % len(classes), classes, (0.5,) * 3, (0.2,) * 3)


def test_every_name_in_the_table_has_a_source_of_that_name() -> None:
    for name in SOURCES:
        assert find_source(name).name == name
        assert known_source(name) is not None
    assert known_source("mine") is None


def test_images_a_pair_and_a_source_are_taken_as_they_are() -> None:
    train, test = images(), images(4)
    one, pair, source = find_source(train), find_source((train, test)), Shapes10()
    assert (one.load("train"), one.load("test")) == (train, train)
    assert (pair.load("train"), pair.load("test")) == (train, test)
    assert find_source(source) is source


def test_a_path_is_known_by_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "test_batch.bin").touch()
    monkeypatch.chdir(tmp_path)
    for path in (folder, str(folder), folder.parent, "./cifar10", Path("cifar10")):
        found = find_source(path, tmp_path / "elsewhere")
        assert isinstance(found, Cifar10)
        if path != Path("cifar10"):
            assert found.folder is not None
            assert found.folder.resolve() in (folder, folder.parent)
    assert find_source("cifar10", tmp_path / "elsewhere").folder == tmp_path / "elsewhere"  # the name wins


@pytest.mark.parametrize("made", ["nothing", "file", "folder", "link"])
def test_a_path_to_something_else_is_the_users_mistake(tmp_path: Path, made: str) -> None:
    path = tmp_path / "x"
    if made == "file":
        path.touch()
    elif made == "folder":
        path.mkdir()
    elif made == "link":
        os.symlink(tmp_path / "nowhere", path)
    missing = rf"^--data {path} is neither a dataset's name nor a path: expected a folder of images, a manifest,"
    with pytest.raises(UserError, match=missing if made == "nothing" else str(path)):
        find_source(path).load("train")


@pytest.mark.parametrize("value", [b"cifar10", 3, None, [images()], (images(),), (images(), "test")])
def test_what_is_no_data_is_the_users_mistake(value: object) -> None:
    with pytest.raises(UserError, match=r"^data is .*: expected a dataset's name, a path, or an ImageDataset$"):
        find_source(value)  # type: ignore[arg-type]


def test_parts_that_do_not_fit_each_other_are_refused_before_any_training() -> None:
    with pytest.raises(
        UserError, match=r"^mine: training and test images have other classes \(a, b and a, c\): expected"
    ):
        Given(images(), images(classes=("a", "c")))
    with pytest.raises(UserError, match=r"^mine: training and test images are \(3, 8, 8\) and \(3, 9, 9\)"):
        Given(images(), images(side=9))
    for pair in ((images(0), images()), (images(), images(0))):
        with pytest.raises(UserError, match=r"^mine has no images: expected at least one to train on"):
            Given(*pair)


def test_a_record_leads_back_to_what_thimble_can_find_by_name() -> None:
    model = tiny()
    model.data = {"name": "shapes10", "train_images": 3}
    assert isinstance(recorded_source(model, "it"), Shapes10)
    records: tuple[dict[str, Any], ...] = (
        {},
        {"name": 3},
        {"name": ["cifar10"]},
        {"name": "x" * 9999},
        {"sha256": "0"},
        {"name": "cifar10", "sha256": 0},
    )
    for record in records:
        model.data = record
        with pytest.raises(UserError, match=r"^it ") as caught:
            recorded_source(model, "it")
        assert len(str(caught.value)) < 250


def test_a_record_of_a_folder_that_was_moved_says_how_to_go_on(tmp_path: Path) -> None:
    model = tiny()
    model.data = {"name": "photos", "path": str(tmp_path / "photos"), "sha256": "0", "images": {}}
    with pytest.raises(UserError) as caught:
        recorded_source(model, "runs/mine")
    place = tmp_path / "photos"
    assert str(caught.value) == (
        f"runs/mine was trained on {place}, which is not there: expected its images; name their new place with --data"
    )


def test_the_images_held_out_for_the_test_are_a_part_of_each_class_and_no_others() -> None:
    whole = images(40)
    train, test = hold_out(whole)
    assert (len(train), len(test)) == (34, 6)
    assert test.labels.bincount().tolist() == [3, 3]
    assert (train.numbers, test.numbers) == (None, None)
    with pytest.raises(UserError, match="mine has 1 images: expected at least two"):
        hold_out(images(1))
