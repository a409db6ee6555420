"""Parquet files with images in them, as on the Hugging Face Hub, and as manifests."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from own_pictures import photos

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
    with pytest.raises(UserError, match=r"x.parquet cannot be read \(.*\): expected a Parquet file$"):
        read_listing(tmp_path / "x.parquet", ImagesConfig())


def test_a_label_that_no_class_has(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", as_on_the_hub([0, 7]), ["a", "b"])
    with pytest.raises(UserError, match=r"has the label 7: expected one of its 2 classes"):
        read_listing(path, ImagesConfig())
