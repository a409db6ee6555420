"""WebDataset shards: images and labels under one name in .tar files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from own_layouts import tarred
from own_pictures import photos

from thimble.data.own.layouts import read_listing
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig
from thimble.data.own.webdataset import webdataset_listing
from thimble.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")
PICTURES = list(photos(6).values())


def shard(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    return tarred(path, files)


def test_shards_with_parts(tmp_path: Path) -> None:
    train: dict[str, bytes] = {}
    for index in range(4):
        train |= {f"{index:04}.jpg": PICTURES[index], f"{index:04}.cls": b"%d\n" % (index % 2 * 10)}
    shard(tmp_path / "x" / "train-000000.tar", {**train, "0009.jpg": PICTURES[4]})
    json_label = json.dumps({"label": 10, "size": 3}).encode()
    shard(tmp_path / "x" / "test-000000.tar", {"a.b.jpg": PICTURES[5], "a.json": json_label, "a.seg.png": PICTURES[4]})
    found = read_listing(tmp_path / "x", ImagesConfig())
    assert found.classes == ("0", "10")
    assert [entry.label for entry in found.entries] == ["10", "0", "10", "0", "10"]
    assert [entry.part for entry in found.entries] == ["test"] + ["train"] * 4
    assert found.skipped == {"images without a label": 1, "further images of the same sample": 1}
    assert len(scan(found, ImagesConfig()).entries) == 5


def test_one_shard_by_itself(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "set.tar", {"1.png": PICTURES[0], "1.json": b'{"kind": "x"}', "2.png": b"", "2.json": b"{}"}
    )
    found = read_listing(path, ImagesConfig(label_column="kind"))
    assert [(entry.label, entry.part) for entry in found.entries] == [("x", None)]
    with pytest.raises(UserError, match=r"set.tar has no images with labels: expected .cls or .json files"):
        read_listing(path, ImagesConfig())


def test_a_tar_of_class_folders_is_no_webdataset(tmp_path: Path) -> None:
    path = shard(tmp_path / "set.tar", {"a/1.png": PICTURES[0], "b/1.png": PICTURES[1], "readme.json": b"{}"})
    assert read_listing(path, ImagesConfig()).classes == ("a", "b")


def test_damaged_labels(tmp_path: Path) -> None:
    path = shard(tmp_path / "set.tar", {"1.png": PICTURES[0], "1.json": b"{"})
    with pytest.raises(UserError, match=r"^1.json in set.tar is no label: expected text or JSON in UTF-8$"):
        read_listing(path, ImagesConfig())


def test_of_several_labels_the_class_counts_and_not_a_caption(tmp_path: Path) -> None:
    files = {"1.png": PICTURES[0], "1.txt": b"a bird", "1.json": b'{"width": 3}', "1.cls": b"7"}
    files |= {"2.png": PICTURES[1], "2.json": b'{"label": 8.0}', "2.txt": b"another", "2.cls": b""}
    path = shard(tmp_path / "set.tar", files)
    assert [entry.label for entry in read_listing(path, ImagesConfig()).entries] == ["7", "8"]
    by_text = read_listing(path, ImagesConfig(label_column="txt"))
    assert [entry.label for entry in by_text.entries] == ["a bird", "another"]


def test_shards_of_one_name_in_folders_of_parts(tmp_path: Path) -> None:
    for index, part in enumerate(("train", "val")):
        files = {"a/1.png": PICTURES[index], "a/1.cls": b"%d" % index}
        (tmp_path / "x").mkdir(exist_ok=True)
        shard(tmp_path / "x" / part / "0.tar", files)
    found = webdataset_listing(tmp_path / "x", ImagesConfig())
    assert [(entry.name, entry.part) for entry in found.entries] == [
        ("train/0.tar/a/1.png", "train"),
        ("val/0.tar/a/1.png", "val"),
    ]
    files = pickle.loads(pickle.dumps(found.files))
    assert [files.read(entry.name) for entry in found.entries] == PICTURES[:2]


def test_the_part_in_the_middle_of_a_name_and_files_of_a_mac(tmp_path: Path) -> None:
    for index, part in enumerate(("train", "val")):
        shard(tmp_path / "x" / f"birds-{part}-000.tar", {"1.png": PICTURES[index], "1.cls": b"%d" % index})
    (tmp_path / "x" / "._birds-val-000.tar").write_bytes(b"of a Mac")
    assert [entry.part for entry in read_listing(tmp_path / "x", ImagesConfig()).entries] == ["train", "val"]
