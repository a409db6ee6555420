"""Datasets of the Hugging Face Hub, as ``datasets`` loads them; here from memory."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
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
    with pytest.raises(UserError, match=r"^hf:me/birds has the columns text, label: expected image, or a name with"):
        read_listing("hf:me/birds", ImagesConfig())


def test_no_network(hub: Callable[[Any], None]) -> None:
    hub(ConnectionError("no\nroute"))
    with pytest.raises(RunError, match=r"^hf:me/birds cannot be loaded \(no route\); check its name and the network$"):
        read_listing("hf:me/birds", ImagesConfig())


@pytest.mark.parametrize("name", ["hf:", "hf:../x", "hf:a/b/c", "hf:/etc"])
def test_what_is_no_address(name: str) -> None:
    with pytest.raises(UserError, match=r"expected hf:OWNER/NAME"):
        read_listing(name, ImagesConfig())
