"""Duplicates that matter are told and kept out of training; all others stay."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from thimble.data.own.duplicates import Duplicates, find_duplicates
from thimble.data.own.likeness import look_alikes
from thimble.data.own.listing import Part
from thimble.errors import UserError

NAMES = "abcdefghij"
PAIR: tuple[Part, Part] = ("train", "test")


def found(content: str, labels: Sequence[int], parts: Sequence[Part]) -> Duplicates:
    """The duplicates among images that are equal where their letters are."""
    random = {letter: np.random.default_rng(ord(letter)).integers(0, 256, (3, 8, 8)) for letter in content}
    images = torch.from_numpy(np.stack([random[letter] for letter in content]).astype(np.uint8))
    files = [letter * 64 for letter in content]
    return find_duplicates(look_alikes(images), files, np.array(labels), parts, NAMES)


def dropped(duplicates: Duplicates) -> str:
    return "".join(NAMES[index] for index in np.flatnonzero(duplicates.dropped))


def test_without_duplicates_nothing_is_said() -> None:
    none = found("xyz", [0, 1, 0], ["train", "train", "test"])
    assert (none.groups, none.notes, dropped(none)) == ((), (), "")
    none.refuse(NAMES)


def test_duplicates_of_one_part_and_label_stay() -> None:
    same = found("xyxx", [0, 1, 0, 0], ["train"] * 4)
    assert same.groups == ((0, 2, 3),)
    assert (same.near, same.across, same.conflicting, same.notes, dropped(same)) == ((False,), (), (), (), "")
    same.refuse(NAMES)


def test_across_parts_the_less_protected_copies_are_dropped() -> None:
    across = found(
        "xxxyyzzuw",
        [0, 0, 0, 1, 1, 0, 0, 0, 1],
        ["train", "val", "test", "train", "val", "val", "test", "train", "train"],
    )
    assert across.across == (0, 1, 2)
    assert dropped(across) == "abdf"
    assert across.notes[0] == "3 groups of images that are equal in several parts, such as a (train) and b (val)."
    with pytest.raises(
        UserError, match=r"^--duplicates refuse: 3 groups of the same images in several parts, such as a and b: "
    ):
        across.refuse(NAMES)


def test_under_two_labels_no_copy_trains() -> None:
    two = found("xxyyzu", [0, 1, 0, 1, 0, 1], ["train", "train", "train", "test", "train", "train"])
    assert two.conflicting == (0, 1)
    assert dropped(two) == "abc"
    assert two.notes[1] == "2 groups of images that are equal under several labels, such as a (train) and b (train)."
    assert json.loads(json.dumps(two.to_dict(NAMES)))["left_out"] == ["a", "b", "c"]


def test_a_class_never_loses_all_its_training_images() -> None:
    last = found("xxyz", [0, 0, 1, 1], ["train", "test", "train", "test"])
    assert dropped(last) == ""
    assert last.notes[-1] == "1 class would have no training images without their duplicates: kept."


def test_equal_pixels_of_different_files_are_equal() -> None:
    images = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8).repeat(2, 1, 1, 1)
    pair = find_duplicates(look_alikes(images), ["1" * 64, "2" * 64], np.array([0, 0]), ["train", "test"], NAMES)
    assert (pair.groups, pair.near) == (((0, 1),), (False,))


def test_images_that_look_the_same_count_too() -> None:
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8) * 200, (64, 64), mode="bilinear")
    images = torch.cat([image, image + 9, torch.rand(1, 3, 64, 64) * 255]).to(torch.uint8)
    near = find_duplicates(
        look_alikes(images), ["1" * 64, "2" * 64, "3" * 64], np.array([0, 0, 0]), ["train", "test", "train"], NAMES
    )
    assert (near.groups, near.near, dropped(near)) == (((0, 1),), (True,), "a")
    assert near.notes[0].startswith("1 group of images that look the same in several parts")


def test_many_copies_are_a_sign_of_missing_groups() -> None:
    many = found("xxyyzzuv", [0, 0, 0, 0, 0, 0, 0, 0], [*PAIR, *PAIR, *PAIR, "train", "train"])
    assert many.notes[-1].startswith("Copies are 60% of the training images: ")
