"""The parts of own images: by content, in proportion, and the same however the folder grows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thimble.data.own.listing import Entry, Part
from thimble.data.own.parts import split_parts

FOLDERS = st.dictionaries(st.integers(0, 400), st.sampled_from("abc"), min_size=1, max_size=60)
"""Images by number, which is their content, with their classes."""


def sha(value: object) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()


def share(image: int) -> float:
    return int(sha(image)[:16], 16) / 2**64


def parts_of(folder: Mapping[int, str], name: str = "{}") -> dict[int, Part]:
    entries = [Entry(f"{label}/{name.format(image)}.png", label) for image, label in folder.items()]
    return dict(zip(folder, split_parts(entries, [sha(image) for image in folder]).parts, strict=True))


def entries_of(labels: Sequence[str], **fields: Sequence[str | None]) -> list[Entry]:
    rows = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)] or [{}] * len(
        labels
    )
    return [Entry(f"{index}", label, **row) for index, (label, row) in enumerate(zip(labels, rows, strict=True))]


def test_the_parts_of_many_images_are_70_15_15_in_every_class() -> None:
    labels = ["a"] * 6_000 + ["b"] * 2_000
    parts = split_parts(entries_of(labels), [sha(index) for index in range(8_000)]).parts
    counts = Counter(zip(labels, parts, strict=True))
    for label, total in (("a", 6_000), ("b", 2_000)):
        for part, wanted in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
            deviation = (wanted * (1 - wanted) / total) ** 0.5
            assert counts[label, part] / total == pytest.approx(wanted, abs=3.5 * deviation)  # type: ignore[index]


@given(FOLDERS, FOLDERS)
def test_adding_images_moves_none_of_a_class_that_has_all_parts_by_hash(
    folder: dict[int, str], more: dict[int, str]
) -> None:
    before, after = parts_of(folder), parts_of({**more, **folder})
    for label in "abc":
        images = [image for image, owner in folder.items() if owner == label]
        by_hash = {0 if share(image) < 0.15 else 1 if share(image) < 0.3 else 2 for image in images}
        if len(by_hash) == 3:
            assert [before[image] for image in images] == [after[image] for image in images]


@given(FOLDERS, st.integers(401, 800), st.sampled_from("abc"))
def test_one_more_image_moves_at_most_two_and_none_of_another_class(
    folder: dict[int, str], image: int, to: str
) -> None:
    before, after = parts_of(folder), parts_of({**folder, image: to})
    moved = [other for other in folder if before[other] != after[other]]
    assert {folder[other] for other in moved} <= {to}
    assert len(moved) <= 2


@given(FOLDERS, st.randoms())
def test_names_and_their_order_do_not_matter(folder: dict[int, str], random: object) -> None:
    images = list(folder)
    random.shuffle(images)  # type: ignore[attr-defined]
    assert parts_of({image: folder[image] for image in images}, name="renamed {}") == parts_of(folder)


@given(FOLDERS)
def test_every_class_has_what_its_number_of_images_allows(folder: dict[int, str]) -> None:
    parts = parts_of(folder)
    for label, count in Counter(folder.values()).items():
        found = {parts[image] for image, owner in folder.items() if owner == label}
        assert "train" in found
        assert "test" in found or count < 2
        assert "val" in found or count < 4


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc")), min_size=1, max_size=60))
def test_equal_images_are_in_one_part_under_whatever_label(images: list[tuple[int, str]]) -> None:
    entries = entries_of([label for _, label in images])
    parts = split_parts(entries, [sha(image) for image, _ in images]).parts
    assert len({(image, part) for (image, _), part in zip(images, parts, strict=True)}) == len(dict(images))


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abc")), min_size=1, max_size=80))
def test_groups_stay_whole_and_every_class_has_training_images(images: list[tuple[int, str]]) -> None:
    entries = entries_of([label for _, label in images], group=[f"scene {group}" for group, _ in images])
    parts = split_parts(entries, [sha(index) for index in range(len(images))]).parts
    assert len(set(zip((group for group, _ in images), parts, strict=True))) == len(dict(images))
    trained = {label for (_, label), part in zip(images, parts, strict=True) if part == "train"}
    assert trained == {label for _, label in images}


def test_the_hash_of_a_group_is_that_of_its_name() -> None:
    names = [f"scene {index % 40}" for index in range(400)]
    first = split_parts(entries_of(["a"] * 400, group=names), [sha(index) for index in range(400)]).parts
    other = split_parts(entries_of(["a"] * 400, group=names), [sha(-index) for index in range(400)]).parts
    assert first == other
    assert set(first) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("given_parts", "note"),
    [
        ((None,), "No parts were given"),
        (("train",), "Only training images were given"),
        (("train", "test"), "No val images were given"),
        (("train", "val"), "No test images were given"),
        (("train", "val", "test"), None),
        ((None, "test"), "No val images were given"),
        ((None, "val", "test"), "400 images are without a part"),
        (("val", "test"), "No training images were given"),
    ],
)
def test_given_parts_stay_and_the_others_are_made(given_parts: tuple[Part | None, ...], note: str | None) -> None:
    asked = list(given_parts) * 400
    split = split_parts(entries_of(["a"] * len(asked), part=asked), [sha(index) for index in range(len(asked))])
    assert {old for old, new in zip(asked, split.parts, strict=True) if old != new} <= {None, "train"}
    if given_parts != ("val", "test"):
        assert set(split.parts) == {"train", "val", "test"}
        made = {"val", "test"} - set(given_parts)
        for part in made:
            assert 30 < split.parts.count(part) < 90  # about 15% of 400  # type: ignore[arg-type]
    assert [text for text in split.notes if note and note in text] or note is None
    assert note or not split.notes


def test_a_tiny_class_trains_and_the_notes_say_what_it_lacks() -> None:
    labels = ["one"] + ["three"] * 3 + ["many"] * 400
    split = split_parts(entries_of(labels), [sha(index) for index in range(len(labels))])
    assert split.parts[0] == "train"
    assert sorted(split.parts[1:4]) in (["test", "train", "train"], ["test", "train", "val"])
    notes = " ".join(split.notes)
    assert "No test images of class one: expected at least two different images." in notes
    assert "2 of 3 classes have fewer than 10 test images, class one the fewest (0)" in notes


def test_classes_with_enough_test_images_are_not_warned_of() -> None:
    labels = ["a"] * 500 + ["b"] * 500
    assert len(split_parts(entries_of(labels), [sha(index) for index in range(1_000)]).notes) == 1


def test_a_large_group_trains_and_one_group_cannot_be_split() -> None:
    groups = ["large"] * 300 + [f"small {index}" for index in range(300)]
    split = split_parts(entries_of(["a", "b"] * 300, group=groups), [sha(index) for index in range(600)])
    assert set(split.parts[:300]) == {"train"}
    assert "1 group is larger than 15% of the images, such as large with 50%" in " ".join(split.notes)
    single = split_parts(entries_of(["a", "b"] * 9, group=["only"] * 18), [sha(index) for index in range(18)])
    assert set(single.parts) == {"train"}
    assert "All images are in one group, only: none can test or validate" in " ".join(single.notes)


def test_a_class_in_one_group_has_no_test_images_and_it_is_said() -> None:
    groups = [f"{index}" for index in range(200)] + ["alone"] * 5
    split = split_parts(entries_of(["a"] * 200 + ["b"] * 5, group=groups), [sha(index) for index in range(205)])
    assert set(split.parts[200:]) == {"train"}
    assert "No test images of class b: expected at least two different groups." in split.notes
    assert "The images of a group stay together: 201 groups are divided by the hashes of their names." in split.notes


def test_a_group_in_two_given_parts_is_told() -> None:
    entries = entries_of(["a"] * 3, part=["train", "val", "test"], group=["x", "y", "x"])
    split = split_parts(entries, [sha(index) for index in range(3)])
    assert split.parts == ("train", "val", "test")
    assert "1 group is in more than one of the given parts, such as x" in " ".join(split.notes)


def test_no_images_have_no_parts() -> None:
    assert split_parts([], []).parts == ()


def test_odd_names_of_groups_and_classes_are_shown_escaped() -> None:
    odd = "a\x1b[2J\udcff\n"
    split = split_parts(entries_of([odd] * 4, group=[odd] * 4), [sha(index) for index in range(4)])
    assert all(note.isprintable() for note in split.notes)
