"""The files of datasets that are kept in several, and their parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from thimble.data.own.shards import parts_of_shards, shards_at
from thimble.errors import UserError


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train-00000-of-00002.parquet", "validation-00000-of-00001.parquet"], ["train", "val"]),
        (["train/0.tar", "valid/0.tar", "test/0.tar"], ["train", "val", "test"]),
        (["data/test-0.parquet"], ["test"]),
        (["imagenet-train-000000.tar", "imagenet-val-000000.tar"], ["train", "val"]),
        (["training_1.tar", "eval_1.tar", "testing_1.tar"], ["train", "val", "test"]),
        (["train.tar", "eval.tar"], ["train", "test"]),
        (["crash-test-dummies-0.tar", "crash-test-dummies-1.tar"], [None, None]),
        (["0000.parquet", "0001.parquet"], [None, None]),
    ],
)
def test_parts_of_names(names: list[str], parts: list[str | None]) -> None:
    found = parts_of_shards(names)
    assert [found.get(name) for name in names] == parts


def test_files_in_natural_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("x10.tar", "x2.TAR", "train/x1.tar", "._x2.tar", "__MACOSX/x3.tar", ".cache/x4.tar", "x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(shards_at(tmp_path, ".tar")) == ["train/x1.tar", "x2.TAR", "x10.tar"]
    assert shards_at(tmp_path / "x10.tar", ".tar") == {"x10.tar": tmp_path / "x10.tar"}
    with pytest.raises(UserError, match=r"has no .parquet files: expected at least one"):
        shards_at(tmp_path, ".parquet")
