"""A manifest's rows name images and labels, in whatever form people write them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from thimble.data.own.layouts import read_listing
from thimble.data.own.listing import Listing
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError

FILES = ["images/a.jpg", "images/b.png", "images/b.jpg", "other/c 1.jpg", "images/é.jpg"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "set"


def read(place: Path, text: str | bytes, name: str = "images.csv", **settings: object) -> Listing:
    content = text if isinstance(text, bytes) else text.encode()
    (place / name).write_bytes(content)
    return read_listing(place / name, ImagesConfig(**settings))  # type: ignore[arg-type]


def rows(listing: Listing) -> list[tuple[str, str]]:
    return [(entry.name, entry.label) for entry in listing.entries]


ABC = [("images/a.jpg", "x"), ("other/c 1.jpg", "y")]


@pytest.mark.parametrize(
    "text",
    [
        "image,label\nimages/a.jpg,x\nother/c 1.jpg,y\n",
        "image,label\r\na,x\r\nc 1.jpg,y\r\n",
        "path\tclass\na.jpg\tx\nother/c 1\ty\n",
        "File_Name;Target\na;x\nc 1;y",
        "file_name|category|split|group\na|x||\nc 1|y||\n",
        'image, label\n"images/a.jpg", "x"\n\n  \n"other/c 1.jpg", y\n',
        'label,id,note\nx,./images/a.jpg,"two\nlines"\ny,images/../other/c 1.jpg,\n',
        "image,label\nimages\\a.jpg,x\nother\\c 1.jpg,y\n",
    ],
)
def test_many_forms_of_the_same_table(place: Path, text: str) -> None:
    assert rows(read(place, text)) == ABC


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(place: Path, encoding: str) -> None:
    assert rows(read(place, "image,label\né.jpg,größe\n".encode(encoding))) == [("images/é.jpg", "größe")]


def test_windows_encoding_is_told(place: Path) -> None:
    found = read(place, "image,label\na.jpg,größe\n".encode("cp1252"))
    assert rows(found) == [("images/a.jpg", "größe")]
    assert found.notes == ("images.csv is not UTF-8: read as Windows-1252.",)


def test_what_is_found_and_what_is_not(place: Path) -> None:
    text = "image,label\na,x\ngone.jpg,x\nc 1,\n,y\nb,y\n"
    found = read(place, text)
    assert rows(found) == [("images/a.jpg", "x"), ("images/b.jpg", "y")]  # of b.jpg and b.png the first
    assert found.missing == ("gone.jpg",)
    assert found.classes == ("x", "y")
    assert found.skipped == {
        "rows without a label": 1,
        "rows without an image": 1,
        "images that the manifest does not list": 3,
    }


def test_an_image_twice(place: Path) -> None:
    found = read(place, "image,label\na,x\na.jpg,x\nb.png,x\nb.png,y\nc 1,y\n")
    assert rows(found) == [("images/a.jpg", "x"), ("other/c 1.jpg", "y")]
    assert found.skipped["rows of the same image again"] == 1
    assert found.skipped["images with several labels, parts or groups"] == 1


def test_parts_and_groups(place: Path) -> None:
    text = "image,label,split,group,sender\na,x,Training,1,s\nb.png,y,validation,,t\nc 1,y,,2,\n"
    found = read(place, text)
    assert [(entry.part, entry.group) for entry in found.entries] == [("train", "1"), ("val", None), (None, "2")]
    assert found.layout == "a manifest with the columns image (image), label (label), split (part), group (group)"
    by_sender = read(place, text, group="sender")
    assert [entry.group for entry in by_sender.entries] == ["s", "t", None]
    by_pattern = read(place, text, group=r"/([abc])")
    assert [entry.group for entry in by_pattern.entries] == ["a", "b", "c"]
    with pytest.raises(UserError, match=r"^images.csv, column split: 'fold3' is no part; expected train, val or test"):
        read(place, "image,label,split\na,x,fold3\n")


def test_unknown_and_blank_parts(place: Path) -> None:
    found = read(place, "image,label,set\na,x,TRAIN\nb.png,y, \nc 1,y,eval\n")
    assert [entry.part for entry in found.entries] == ["train", None, "test"]
    found = read(place, "image,label,split\na,x,train\nb.png,y,eval\nc 1,y,test\n")
    assert [entry.part for entry in found.entries] == ["train", "val", "test"]
    with pytest.raises(UserError, match=r"column split: 'a\\+nb' is no part; expected train, val or test, or nothing$"):
        read(place, 'image,label,split\na,x,train\nb,y,"a\nb"\n')


def test_groups_that_are_blank(place: Path) -> None:
    text = "image,label,group\na,x,\nc 1,y, \n"
    assert [entry.group for entry in read(place, text).entries] == [None, None]
    with pytest.raises(UserError, match=r"^--group group gives no group to any of the images, such as images/a.jpg"):
        read(place, text, group="group")


def test_the_folder_of_the_same_part(place: Path) -> None:
    for name in ("train/1.jpg", "test/1.jpg"):
        (place / name).parent.mkdir()
        (place / name).touch()
    found = read(place, "image,label,split\n1.jpg,x,test\n1,y,train\n")
    assert [(entry.name, entry.label) for entry in found.entries] == [("test/1.jpg", "x"), ("train/1.jpg", "y")]
    assert rows(read(place, "image,label\n1.jpg,x\n", "train.csv")) == [("train/1.jpg", "x")]
    with pytest.raises(UserError, match=r"lists 1.jpg, which is in several folders, test and train: expected paths"):
        read(place, "image,label\n1.jpg,x\n")


def test_accents_of_labels_are_the_same_however_they_are_stored(place: Path) -> None:
    assert read(place, "image,label\na,Cafe\u0301\nb,Caf\xe9\n").classes == ("Café",)


def test_no_row_is_of_use(place: Path) -> None:
    for text in ("image,label\n", "image,label\na,\n,x\n"):
        with pytest.raises(UserError, match=r"^images.csv has no row with an image and a label: expected one for each"):
            read(place, text)
    with pytest.raises(UserError, match=r"^images.csv gives each of its 2 images several labels, parts or groups: exp"):
        read(place, "image,label\na,x\na,y\nb,x\nb,y\n")


@pytest.mark.parametrize("name", ["a\nb.csv", "\x1b[2J.csv"])
def test_messages_are_one_line_whatever_the_name(place: Path, name: str) -> None:
    for text in ("", "image,label\n", "image\nx", "a,b\nc,d\n", "image,label\nno,x\n", "image,label,split\na,x,no\n"):
        with pytest.raises(UserError) as found:
            read(place, text, name)
        assert str(found.value).isprintable()


def test_a_large_table(place: Path) -> None:
    lines = "".join(f"{number}.jpg,x\n" for number in range(20_000))
    found = read(place, "image,label\na.jpg,x\n" + lines)
    assert len(found.missing) == 20_000


def test_absolute_paths_and_those_above(place: Path) -> None:
    sub = place / "tables"
    sub.mkdir()
    text = f"image,label\n{place}/images/a.jpg,x\n../other/c 1.jpg,y\n"
    found = read(sub, text)
    assert rows(found) == [(f"{place}/images/a.jpg", "x"), ("../other/c 1.jpg", "y")]
    assert found.files.read("../other/c 1.jpg") == b""
    assert found.files.read(f"{place}/images/a.jpg") == b""


def test_named_columns(place: Path) -> None:
    text = "photo,kids,label\na,True,x\nc 1,False,y\n"
    with pytest.raises(
        UserError, match=r"has the columns photo, kids, label: expected one named path, image, file_name, or"
    ):
        read(place, text)
    found = read(place, text, image_column="photo", label_column="Kids")
    assert found.classes == ("False", "True")
    with pytest.raises(UserError, match=r"has the columns photo, kids, label: expected age$"):
        read(place, text, image_column="photo", label_column="age")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label,label\na,x,y\n", r"has 2 columns named label: expected one"),
        ("image\na\n", r"has one column, 'image': expected at least two"),
        ("", r"is empty: expected at least two"),
        (b"\x89PNG\0\0\0", r"is no text in UTF-8, nor in UTF-16 .*: expected a table"),
        ("image,label\na,x,y\n", r"line 2: 3 values, but 2 column names; expected values with a ',' inside"),
        ("image,label\nno.jpg,x\nnor.jpg,y\n", r"lists 2 images, none of which exists, such as no.jpg: expected paths"),
        (codecs.BOM_UTF16_LE + b"a", r"is damaged: expected utf-16 text"),
    ],
)
def test_what_is_no_manifest(place: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"^images\.csv.* ?{message}"):
        read(place, text)


def test_doubled_columns_that_are_not_used_do_not_matter(place: Path) -> None:
    assert rows(read(place, "image,label,x,x\na,x,1,2\nc 1,y,,\n")) == ABC
