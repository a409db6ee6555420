"""Duplicates that matter are told and kept out of training; all others stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from thimble.data.own.duplicates import Duplicates, find_duplicates
from thimble.data.own.likeness import look_alikes
from thimble.data.own.listing import Part
from thimble.errors import UserError

NAMES = "abcdefghij"
PAIR: tuple[Part, Part] = ("train", "test")


def found(content: str, labels: Sequence[int], parts: Sequence[Part], *, drop: bool = True) -> Duplicates:
    """The duplicates among images that are equal where their letters are."""
    random = {letter: np.random.default_rng(ord(letter)).integers(0, 256, (3, 8, 8)) for letter in content}
    images = torch.from_numpy(np.stack([random[letter] for letter in content]).astype(np.uint8))
    files = [letter * 64 for letter in content]
    return find_duplicates(look_alikes(images), files, np.array(labels), parts, NAMES, drop=drop)


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
    assert across.notes[0] == (
        "3 groups of equal images are in several parts, such as a (train) and b (val): 2 training and 2 validation"
        " images are left out (--duplicates drop)."
    )
    with pytest.raises(
        UserError, match=r"^--duplicates refuse: 3 groups of the same images in several parts, such as a and b: "
    ):
        across.refuse(NAMES)


def test_examples_are_in_different_parts_or_under_different_labels() -> None:
    group = found("xxxxyzu", [0, 0, 0, 1, 0, 1, 1], ["train", "train", "test", "train", "train", "train", "test"])
    parts, labels = group.notes[:2]
    assert "such as a (train) and c (test): 3 training images" in parts
    assert "1 group of equal images has several labels, such as a (train) and d (train): 3 training images" in labels
    with pytest.raises(UserError, match="in several parts, such as a and c: "):
        group.refuse(NAMES)
    several = found("xxxyz", [0, 0, 1, 0, 1], ["train"] * 5)
    with pytest.raises(UserError, match="under several labels, such as a and c: "):
        several.refuse(NAMES)


def test_under_two_labels_no_copy_trains_and_the_test_keeps_its_own() -> None:
    two = found("xxyyzu", [0, 1, 0, 1, 0, 1], ["train", "train", "train", "test", "train", "train"])
    assert two.conflicting == (0, 1)
    assert dropped(two) == "abc"
    assert two.notes[1] == (
        "2 groups of equal images have several labels, such as a (train) and b (train): 3 training images are left out"
        " (--duplicates drop)."
    )
    assert json.loads(json.dumps(two.to_dict(NAMES)))["left_out"] == ["a", "b", "c"]
    assert found("xxyz", [0, 1, 0, 1], ["test", "test", "train", "train"]).notes == (
        "1 group of equal images has several labels, such as a (test) and b (test): all are used.",
    )


def test_kept_duplicates_are_told_as_used() -> None:
    kept = found("xxyzuv", [0, 1, 0, 1, 0, 1], [*PAIR, *PAIR, *PAIR], drop=False)
    assert len(kept.notes) == 3
    assert all(note.endswith("all are used (--duplicates keep).") for note in kept.notes[:2])


def test_a_class_never_loses_all_its_training_images() -> None:
    last = found("xxyz", [0, 0, 1, 1], ["train", "test", "train", "test"])
    assert dropped(last) == ""
    assert last.notes[0].endswith("such as a (train) and b (test): all are used.")
    assert last.notes[-1] == (
        "1 class would have no training images without their duplicates, such as that of a: they are used."
    )


def test_equal_pixels_of_different_files_are_equal() -> None:
    images = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8).repeat(2, 1, 1, 1)
    pair = find_duplicates(look_alikes(images), ["1" * 64, "2" * 64], np.array([0, 0]), ["train", "test"], NAMES)
    assert (pair.groups, pair.near) == (((0, 1),), (False,))


def pairs(*found: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(found, np.int64).reshape(-1, 3)


def of_pairs(alike: tuple[tuple[int, int, int], ...], labels: Sequence[int], parts: Sequence[Part]) -> Duplicates:
    """Images whose files differ all, and which of them look the same or are equal."""
    names = [f"{index}" for index in range(len(parts))]
    return find_duplicates(pairs(*alike), [name * 64 for name in names], np.array(labels), parts, names)


def test_images_that_look_the_same_count_too() -> None:
    near = of_pairs(((0, 1, 0), (2, 3, 1)), [0] * 20, [*PAIR, *PAIR, *["train"] * 16])  # type: ignore[list-item]
    assert (near.groups, near.near) == (((0, 1), (2, 3)), (True, False))
    assert np.flatnonzero(near.dropped).tolist() == [0, 2]
    assert near.notes == (
        "2 groups of equal images (1 of them only look the same) are in several parts, such as 0 (train) and 1 (test):"
        " 2 training images are left out (--duplicates drop).",
    )
    only = of_pairs(((0, 1, 0),), [0] * 20, [*PAIR, *["train"] * 18])  # type: ignore[list-item]
    assert only.notes[0].startswith("1 group of images that look the same is in several parts, such as")


def test_frames_of_a_video_stay_and_groups_are_advised() -> None:
    """A random split of frames: all test images have their neighbours in training."""
    parts: list[Part] = ["train", "train", "test"] * 10
    film = tuple((index, index + 1, 0) for index in range(14))
    frames = of_pairs((*film, (27, 29, 1)), [0] * 30, parts)
    assert np.flatnonzero(frames.dropped).tolist() == [27]
    assert frames.near == (True, False)
    assert frames.notes[0].endswith(": 1 training image is left out (--duplicates drop).")
    assert frames.notes[1].startswith("50% of the training images look the same as others in another part")
    assert "(--group)" in frames.notes[1]


def test_equal_images_are_dropped_however_many() -> None:
    many = found("xxyyzzuv", [0] * 8, [*PAIR, *PAIR, *PAIR, "train", "train"])
    assert dropped(many) == "ace"
    assert many.notes[1:] == ("60% of the training images are also in another part, or under another label.",)


def test_names_are_shown_escaped() -> None:
    names = ["a\x1b[2J\n", "b\udcff", "c", "d"]
    odd = find_duplicates(
        pairs((0, 1, 1)), [*"1234"], np.array([0, 1, 0, 1]), ["train", "test", "train", "test"], names
    )
    assert all(note.isprintable() for note in odd.notes)
    with pytest.raises(UserError) as error:
        odd.refuse(names)
    assert str(error.value).isprintable()
