"""Datasets of the Hugging Face Hub, as ``datasets`` loads them; here from memory."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_pictures import photos
from PIL import Image

from thimble.data.own.layouts import read_listing
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig
from thimble.errors import RunError, UserError

pytestmark = [pytest.mark.usefixtures("own_cache"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
datasets = pytest.importorskip("datasets")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let the Hub have one dataset, or raise an error."""

    def have(what: Any) -> None:
        def load(name: str) -> Any:
            assert name == "me/birds"
            if isinstance(what, Exception):
                raise what
            return what

        monkeypatch.setattr(datasets, "load_dataset", load)

    return have


def rows(labels: list[int], **more: list[Any]) -> Any:
    images = [Image.open(io.BytesIO(content)) for content in list(photos(len(labels)).values())]
    features = {"img": datasets.Image(), "fine": datasets.ClassLabel(names=["wren", "crow"])}
    return datasets.Dataset.from_dict({"img": images, "fine": labels}, features=datasets.Features(features))


def test_splits_become_parts(hub: Callable[[Any], None]) -> None:
    hub(datasets.DatasetDict({"train": rows([0, 1, 1, -1]), "validation": rows([0]), "test": rows([1, 0])}))
    found = read_listing("hf:me/birds", ImagesConfig())
    assert found.classes == ("wren", "crow")
    assert [entry.part for entry in found.entries] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert [entry.label for entry in found.entries][:3] == ["wren", "crow", "crow"]
    assert found.place == "hf:me/birds"
    assert all(entry.signature for entry in found.entries)
    assert found.skipped == {"images without a label": 1}
    assert isinstance(pickle.loads(pickle.dumps(found.files)).read("train/1"), bytes)
    assert len(scan(found, ImagesConfig()).entries) == 6


def test_a_dataset_without_images(hub: Callable[[Any], None]) -> None:
    hub(datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"], "label": [0]})}))
    with pytest.raises(
        UserError,
        match=r"^hf:me/birds has the columns text \(Value\), label \(Value\): expected an image in image, or",
    ):
        read_listing("hf:me/birds", ImagesConfig())


def test_no_network(hub: Callable[[Any], None]) -> None:
    hub(ConnectionError("no\nroute"))
    with pytest.raises(RunError, match=r"^hf:me/birds cannot be loaded \(no route\); check its name and the network$"):
        read_listing("hf:me/birds", ImagesConfig())


@pytest.mark.parametrize("name", ["hf:", "hf:../x", "hf:a/b/c", "hf:/etc"])
def test_what_is_no_address(name: str) -> None:
    with pytest.raises(UserError, match=r"expected hf:OWNER/NAME"):
        read_listing(name, ImagesConfig())


def test_columns_that_are_asked_for(hub: Callable[[Any], None]) -> None:
    more = rows([0, 1, 1]).add_column("kind", ["x", "y", "x"]).add_column("sender", [5, 5, None])
    hub(datasets.DatasetDict({"train": more}))
    found = read_listing("hf:me/birds", ImagesConfig(label_column="kind", group="sender"))
    assert [(entry.label, entry.group) for entry in found.entries] == [("x", "5"), ("y", "5"), ("x", None)]
    with pytest.raises(UserError, match=r"expected an image in kind, as --image-column says$"):
        read_listing("hf:me/birds", ImagesConfig(image_column="kind"))
    with pytest.raises(UserError, match=r"expected a label in age, as --label-column says$"):
        read_listing("hf:me/birds", ImagesConfig(label_column="age"))


def test_labels_that_are_lists(hub: Callable[[Any], None]) -> None:
    hub(datasets.DatasetDict({"train": rows([0, 1]).add_column("labels", [[0, 1], [1]])}))
    with pytest.raises(UserError, match=r"^hf:me/birds, train, has the label \[0, 1\]: expected one class name"):
        read_listing("hf:me/birds", ImagesConfig(label_column="labels"))


def test_splits_with_other_columns(hub: Callable[[Any], None]) -> None:
    hub(datasets.DatasetDict({"train": rows([0, 1]), "test": rows([0, 1]).remove_columns("fine")}))
    with pytest.raises(UserError, match=r"^hf:me/birds, test, has no column fine: expected the columns of the other"):
        read_listing("hf:me/birds", ImagesConfig())


def test_an_image_that_is_missing_or_a_file(hub: Callable[[Any], None], tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(picture := next(iter(photos(1).values())))
    values = [None, {"bytes": None, "path": str(tmp_path / "1.png")}, {"bytes": None, "path": str(tmp_path / "2.png")}]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    hub(datasets.Dataset.from_dict({"image": values, "label": ["a", "b", "c"]}, features=features))
    files = read_listing("hf:me/birds", ImagesConfig()).files
    assert files.read("train/0") == b""
    assert files.read("train/1") == picture
    with pytest.raises(UserError, match=r"2.png does not exist"):
        files.read("train/2")


def test_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "me" / "birds").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^hf:me/birds is also a folder here: expected --data ./me/birds for it"):
        read_listing("hf:me/birds", ImagesConfig())


def test_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"^--data hf: needs datasets.*thimble-nets\[datasets\]"):
        read_listing("hf:me/birds", ImagesConfig())
