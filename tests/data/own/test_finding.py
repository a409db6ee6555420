"""A manifest's names are found however they are written, and never in the wrong folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from own_layouts import lock_folder

from thimble.data.own.finding import Folders, folders_on_disk
from thimble.errors import UserError


def folders(place: Path, *names: str, manifest: str = "labels.csv") -> Folders:
    for name in names:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folders_on_disk(str(place), manifest)


def found(where: Folders, name: str) -> str | None:
    result = where.find(name)
    return None if result is None else result[0]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("x/../a.jpg", "a.jpg"),
        ("a", "a.jpg"),
        ("A.JPG", "a.jpg"),
        ("images/b.png", "images/b.png"),
        ("b.png", "images/b.png"),
        ("images//b", "images/b.png"),
        (r"images\b.png", "images/b.png"),
        (r".\deep\c.jpg", "images/deep/c.jpg"),
        ("deep/c", "images/deep/c.jpg"),
        ("c.jpg", None),
        ("b.jpg", None),
        ("é 1.png", "images/é 1.png"),
        ("e\u0301 1", "images/é 1.png"),
        ("É 1.PNG", "images/é 1.png"),
        ("v1.2", "images/v1.2.png"),
        ("notes", None),
        ("notes.txt", "images/notes.txt"),
        (".hidden.png", None),
        ("images", None),
        ("images/", None),
        ("", None),
        (".", None),
        ("..", None),
        ("/", None),
        ("\0", None),
        ("x" * 5000, None),
        ("x/" * 3000 + "a.jpg", None),
        ("a.jpg/a.jpg", None),
        (r"C:\images\b.png", None),
        ("https://example.org/a.jpg", None),
    ],
)
def test_spellings(tmp_path: Path, name: str, path: str | None) -> None:
    names = ["a.jpg", "images/b.png", "images/deep/c.jpg", "images/é 1.png", "images/v1.2.png", "images/notes.txt"]
    where = folders(tmp_path, *names, ".cache/.hidden.png")
    assert found(where, name) == path
    assert found(where, name) == path  # once more


def test_the_signature_is_the_files(tmp_path: Path) -> None:
    where = folders(tmp_path, "a.jpg")
    status = os.stat(tmp_path / "a.jpg")
    assert where.find("a") == ("a.jpg", f"0 {status.st_mtime_ns}")


def test_absolute_paths_and_those_above(tmp_path: Path) -> None:
    folders(tmp_path, "far/a.jpg")
    where = folders(tmp_path / "near", "far/a.jpg", "b.jpg")
    assert found(where, "../far/a.jpg") == "../far/a.jpg"
    assert found(where, f"{tmp_path}/far/a.jpg") == f"{tmp_path}/far/a.jpg"
    assert found(where, f"{tmp_path}/far/A") == f"{tmp_path}/far/a.jpg"
    assert found(where, "/b.jpg") is None


def test_names_that_differ_in_upper_case(tmp_path: Path) -> None:
    where = folders(tmp_path, "a.jpg", "A.png", "Ab.jpg", "aB.jpg")
    assert found(where, "A") == "A.png"
    assert found(where, "a") == "a.jpg"
    assert found(where, "A.JPG") == "a.jpg"
    assert found(where, "aB") == "aB.jpg"
    assert found(where, "ab") is None  # it could be either


def test_the_manifests_folder_comes_first(tmp_path: Path) -> None:
    where = folders(tmp_path, "a.jpg", "images/a.jpg", "images/b.jpg", "images/sub/c.jpg", "sub/c.jpg")
    assert [found(where, name) for name in ("a.jpg", "b.jpg", "sub/c.jpg")] == ["a.jpg", "images/b.jpg", "sub/c.jpg"]


@pytest.mark.parametrize("manifest", ["train.csv", "Train_Labels.csv", "training-set.tsv"])
def test_the_manifests_name_decides_between_parts(tmp_path: Path, manifest: str) -> None:
    where = folders(tmp_path, "test/1.jpg", "train/1.jpg", "train/2.jpg", manifest=manifest)
    assert found(where, "1.jpg") == "train/1.jpg"
    assert found(where, "2") == "train/2.jpg"


def test_the_rows_part_decides_between_parts(tmp_path: Path) -> None:
    where = folders(tmp_path, "seg_test/1.jpg", "seg_train/1.jpg", manifest="train.csv")
    assert where.find("1.jpg", "test") == ("seg_test/1.jpg", where.find("seg_test/1.jpg")[1])  # type: ignore[index]
    assert found(where, "1.jpg") == "seg_train/1.jpg"


def test_images_rather_than_masks(tmp_path: Path) -> None:
    where = folders(tmp_path, "Images/1.jpg", "annotations/1.jpg", "masks/1.jpg")
    assert found(where, "1.jpg") == "Images/1.jpg"


def test_a_name_that_could_be_two_files_is_refused(tmp_path: Path) -> None:
    where = folders(tmp_path, "test/1.jpg", "train/1.jpg")
    with pytest.raises(
        UserError,
        match=r"^labels\.csv lists 1\.jpg, which is in several folders, test and train: expected paths with the folder,"
        r" such as test/1\.jpg$",
    ):
        where.find("1.jpg")
    assert found(where, "train/1.jpg") == "train/1.jpg"


def test_images_that_no_row_names(tmp_path: Path) -> None:
    where = folders(tmp_path, "images/a.jpg", "images/b.jpg", "images/._b.jpg", "images/c.txt", "other/d.jpg")
    assert where.unused(set()) == 0  # nothing was looked for
    assert found(where, "a") == "images/a.jpg"
    assert where.unused({"images/a.jpg"}) == 2


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    where = folders(tmp_path, "images/a.jpg")
    assert where.find("gone") == ("gone.jpg", "missing")
    assert found(where, "loop/a.jpg") is None
    assert found(where, "a") == "images/a.jpg"


@pytest.mark.parametrize("locked", ["x", "images"])
def test_a_locked_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: str) -> None:
    lock_folder(monkeypatch, locked)
    with pytest.raises(UserError, match=rf"^cannot read .*/{locked}: Permission denied; expected a readable folder$"):
        folders(tmp_path / "x", "images/a.jpg").find("a.jpg")
