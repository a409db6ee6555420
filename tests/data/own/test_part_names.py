"""The names that people give to the parts of a dataset, and those that mean none."""

from __future__ import annotations

import pytest

from thimble.data.own.part_names import part_in, parts_of

MEANT = {
    "train": "train training trn learn fit Train TRAIN train_set training-set Train_Images trainset train2017 01_train",
    "val": "val valid validation validate dev development Val valset val2017 Validation_Data val_256 2-val dev.part",
    "test": "test testing tst holdout Test testset Test_Images test2017 3_test TEST.data eval evaluation evalset",
}


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in MEANT.items() for name in names.split()])
def test_a_name_alone(part: str, name: str) -> None:
    assert parts_of([name]) == {name: part}
    assert parts_of([f" {name} ", "cats"]) == {f" {name} ": part}


@pytest.mark.parametrize("name", ["", " ", "set", "data", "2017", "images", "contest", "latest", "trainer"])
def test_a_name_that_means_no_part(name: str) -> None:
    assert parts_of([name]) == {}


@pytest.mark.parametrize("test", ["test", "Testing", "test_images"])
def test_eval_beside_test(test: str) -> None:
    assert parts_of(["train", "Eval", test]) == {"train": "train", "Eval": "val", test: "test"}
    assert parts_of(["train", "Eval"]) == {"train": "train", "Eval": "test"}


@pytest.mark.parametrize("words", ["train test", "training testing", "Train Test validation"])
@pytest.mark.parametrize("start", ["seg_", "asl_alphabet_", "my data ", "Train-a-bit-"])
def test_a_beginning_that_all_names_have(start: str, words: str) -> None:
    found = parts_of([start + word for word in words.split()])
    assert found == {start + word: part for word, part in parts_of(words.split()).items()}


def test_two_folders_of_one_part() -> None:
    assert parts_of(["train_1", "train_2"]) == {"train_1": "train", "train_2": "train"}
    assert parts_of(["train", "trap"]) == {"train": "train"}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.csv", "train"),
        ("train_labels.csv", "train"),
        ("Test-Images.tsv", "test"),
        ("labels.csv", None),
        ("train_and_test.csv", None),
        ("", None),
    ],
)
def test_the_part_in_a_files_name(name: str, part: str | None) -> None:
    assert part_in(name) == part
