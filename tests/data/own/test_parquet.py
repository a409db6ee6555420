"""Parquet files with images in them, as on the Hugging Face Hub, and as manifests."""

from __future__ import annotations

import datetime
import json
import math
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from own_pictures import photos

from thimble.data.own import parquet
from thimble.data.own.layouts import read_listing
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PICTURES = list(photos(6).values())


def written(path: Path, columns: dict[str, list[Any]], names: list[str] | None = None) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    table = pa.table(columns)
    if names:
        about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    pq.write_table(table, path, row_group_size=2)
    return path


def as_on_the_hub(labels: list[int | None], pictures: list[bytes] = PICTURES) -> dict[str, list[Any]]:
    images = [{"bytes": content, "path": f"{index}.png"} for index, content in enumerate(pictures)]
    return {"image": images[: len(labels)], "label": labels}


def test_shards_of_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    written(
        folder / "data" / "train-00000-of-00001.parquet", as_on_the_hub([0, 1, 1, 0, -1]), ["robin", "finch", "owl"]
    )
    written(
        folder / "data" / "test-00000-of-00001.parquet",
        as_on_the_hub([1, None], PICTURES[5:] * 2),
        ["robin", "finch", "owl"],
    )
    found = read_listing(folder, ImagesConfig())
    assert found.classes == ("robin", "finch", "owl")
    train = [entry for entry in found.entries if entry.part == "train"]
    assert [entry.label for entry in train] == ["robin", "finch", "finch", "robin"]
    assert [entry.label for entry in found.entries if entry.part == "test"] == ["finch"]
    assert found.skipped == {"images without a label": 2}
    files = pickle.loads(pickle.dumps(found.files))
    assert [files.read(entry.name) for entry in reversed(train)] == PICTURES[3::-1]
    assert len(scan(found, ImagesConfig()).entries) == 5


def test_one_file_with_names_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", {"photo": PICTURES, "kind": list("babaab"), "n": [1] * 6})
    found = read_listing(path, ImagesConfig(label_column="kind"))
    assert found.classes == ("a", "b")
    assert {entry.part for entry in found.entries} == {None}
    with pytest.raises(UserError, match=r"x.parquet has the columns photo, kind, n: expected label, or its name with"):
        read_listing(path, ImagesConfig())
    with pytest.raises(UserError, match=r"expected one age, as --label-column says"):
        read_listing(path, ImagesConfig(label_column="age"))


def test_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index, content in enumerate(PICTURES):
        (tmp_path / "images" / f"{index}.png").write_bytes(content)
    path = written(
        tmp_path / "x.parquet", {"file_name": ["0", "1.png", None], "label": [3, 4, 5], "split": ["train", None, None]}
    )
    found = read_listing(path, ImagesConfig())
    assert [(entry.name, entry.label, entry.part) for entry in found.entries] == [
        ("images/0.png", "3", "train"),
        ("images/1.png", "4", None),
    ]
    assert found.skipped["rows without an image"] == 1


@pytest.mark.parametrize("content", [b"", b"PAR1 half of it"])
def test_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"x.parquet cannot be read \(.*\): expected a whole Parquet file$"):
        read_listing(tmp_path / "x.parquet", ImagesConfig())


def test_a_label_that_no_class_has(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", as_on_the_hub([0, 7]), ["a", "b"])
    with pytest.raises(UserError, match=r"has the label 7: expected one of its 2 classes"):
        read_listing(path, ImagesConfig())


def test_a_large_row_group_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_MOST_KEPT_BYTES", 0)
    monkeypatch.setattr(parquet, "_ROWS_AT_ONCE", 2)
    pq.write_table(pa.table(as_on_the_hub([0, 1, 0, 1, 0, 1])), tmp_path / "x.parquet")
    found = read_listing(tmp_path / "x.parquet", ImagesConfig())
    for row in (0, 1, 4, 5, 5, 2, 0, 3):
        assert found.files.read(f"x.parquet/{row}") == PICTURES[row]
    assert found.files._kept is not None  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(found.files)).read("x.parquet/3") == PICTURES[3]


def test_a_damaged_row_group_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = [bytes([number]) + os.urandom(5000) for number in range(6)]
    path = written(tmp_path / "x.parquet", {"image": noise, "label": list("ababab")})
    found = read_listing(path, ImagesConfig())
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)
    opened: list[Path] = []
    original = parquet._opened

    def count(at: Path) -> Any:
        opened.append(at)
        return original(at)

    monkeypatch.setattr(parquet, "_opened", count)
    assert found.files.read("x.parquet/1") == noise[1]
    for row in (2, 3):
        with pytest.raises(UserError, match=r"x.parquet cannot be read \(.*\): expected a whole Parquet file$"):
            found.files.read(f"x.parquet/{row}")
    assert found.files.read("x.parquet/4") == noise[4]
    assert len(opened) == 3


def test_a_file_that_vanished(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", as_on_the_hub([0, 1]))
    found = read_listing(path, ImagesConfig())
    path.unlink()
    with pytest.raises(UserError, match=r"x.parquet cannot be read"):
        found.files.read("x.parquet/0")


def test_parts_and_groups_in_columns(tmp_path: Path) -> None:
    more: dict[str, list[Any]] = {"Split": ["train", "dev", None, "test", "", "train"], "sender": [1, 1, 2, 2, None, 3]}
    path = written(tmp_path / "x.parquet", as_on_the_hub([0, 1, 0, 1, 0, 1]) | more)
    found = read_listing(path, ImagesConfig(group="Sender"))
    assert [entry.part for entry in found.entries] == ["train", "val", None, "test", None, "train"]
    assert [entry.group for entry in found.entries] == ["1", "1", "2", "2", None, "3"]
    written(path, as_on_the_hub([0, 1]) | {"split": ["train", "fold 3"]})
    with pytest.raises(UserError, match=r"has the part 'fold 3' in a column: expected train, val or test, or nothing"):
        read_listing(path, ImagesConfig())


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1.0, math.nan, 10.0, 2.0], ["1", None, "10", "2"]),
        ([b"a", b" b", None, "ü".encode()], ["a", "b", None, "ü"]),
        ([True, False, None, True], ["True", "False", None, "True"]),
        ([0.5, 1.0, 2.0, 3.0], ["0.5", "1", "2", "3"]),
    ],
)
def test_labels_of_every_kind(tmp_path: Path, labels: list[Any], expected: list[str | None]) -> None:
    path = written(tmp_path / "x.parquet", as_on_the_hub(labels))
    found = read_listing(path, ImagesConfig())
    rows = {entry.name: entry.label for entry in found.entries}
    assert [rows.get(f"x.parquet/{row}") for row in range(4)] == expected


def test_labels_that_are_lists_or_images_that_are_text(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", as_on_the_hub([[1, 2], [3]]))  # type: ignore[list-item]
    with pytest.raises(UserError, match=r"x.parquet has the label \[1, 2\]: expected one class name or number"):
        read_listing(path, ImagesConfig())
    folder = tmp_path / "shards"
    written(folder / "train.parquet", as_on_the_hub([0, 1]) | {"note": ["x", "y"]})
    with pytest.raises(UserError, match=r"has string in its column note: expected the bytes of image files"):
        read_listing(folder, ImagesConfig(image_column="note"))


def test_a_manifest_with_thumbnails_dates_and_unknown_labels(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index, content in enumerate(PICTURES):
        (tmp_path / "images" / f"{index}.png").write_bytes(content)
    columns: dict[str, list[Any]] = {
        "image": ["0.png", "1.png", "2.png"],
        "label": [0, -1, 1],
        "thumb": PICTURES[:3],
        "day": [datetime.date(2026, 1, 1)] * 3,
        "boxes": [[1, 2], [], [3]],
    }
    path = written(tmp_path / "x.parquet", columns, ["robin", "finch"])
    found = read_listing(path, ImagesConfig(image_column="image"))
    assert [(entry.name, entry.label) for entry in found.entries] == [
        ("images/0.png", "robin"),
        ("images/2.png", "finch"),
    ]


def test_other_files_and_endings_beside_the_shards(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    written(folder / "birds-train-0.PARQUET", as_on_the_hub([0, 1]))
    written(folder / "birds-test-0.parquet", as_on_the_hub([1, 0]))
    (folder / "._birds-test-0.parquet").write_bytes(b"of a Mac")
    found = read_listing(folder, ImagesConfig())
    assert [entry.part for entry in found.entries] == ["test"] * 2 + ["train"] * 2


def test_shards_that_differ(tmp_path: Path) -> None:
    written(tmp_path / "x" / "a.parquet", {"image": PICTURES[:2], "label": [0, 1]})
    written(tmp_path / "x" / "b.parquet", {"img": PICTURES[:2], "label": [0, 1]})
    with pytest.raises(UserError, match=r"columns image of a.parquet and img of b.parquet: expected one name"):
        read_listing(tmp_path / "x", ImagesConfig())
    written(tmp_path / "x" / "b.parquet", {"image": PICTURES[:2]})
    with pytest.raises(UserError, match=r"^b.parquet has the columns image: expected label, or its name with"):
        read_listing(tmp_path / "x", ImagesConfig())


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.table([pa.array(PICTURES), pa.array(range(6)), pa.array(range(6))], names=["image", "label", "label"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"has the columns image, label, label: expected different names"):
        read_listing(tmp_path / "x.parquet", ImagesConfig())


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x.parquet", as_on_the_hub([0, 1]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"^a Parquet file needs pyarrow.*thimble-nets\[datasets\]"):
        read_listing(path, ImagesConfig())


@pytest.mark.parametrize(
    "places", [("data/train-0", "data/test-0"), ("default/train/0", "default/test/0"), ("train/0", "test/0")]
)
def test_a_folder_as_downloaded_from_the_hub(tmp_path: Path, places: tuple[str, str]) -> None:
    folder = tmp_path / "birds"
    for place in places:
        written(folder / f"{place}.parquet", as_on_the_hub([0, 1]), ["robin", "finch"])
    for name in ("README.md", "LICENSE", ".gitattributes", "dataset_infos.json"):
        (folder / name).touch()
    found = read_listing(folder, ImagesConfig())
    assert [entry.part for entry in found.entries] == ["test"] * 2 + ["train"] * 2
    assert [found.files.read(entry.name) for entry in found.entries] == PICTURES[:2] * 2


def test_a_folder_that_contains_itself(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"^[^\n]*expected[^\n]*$"):
        read_listing(tmp_path, ImagesConfig())
