"""MNIST and Fashion-MNIST, from disk and from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from download_server import Server

from thimble.data import mnist
from thimble.data.published import File
from thimble.data.source import DataUnavailable
from thimble.data.sources import find_source
from thimble.errors import RunError, UserError
from thimble.training.recipes import default_recipe

FILES = [
    ("train-images-idx3-ubyte.gz", (40, 28, 28)),
    ("train-labels-idx1-ubyte.gz", (40,)),
    ("t10k-images-idx3-ubyte.gz", (20, 28, 28)),
    ("t10k-labels-idx1-ubyte.gz", (20,)),
]


COUNTS = {
    "mnist": {"train": (3, 5, 4, 4, 4, 4, 4, 4, 4, 4), "test": (1, 3, 2, 2, 2, 2, 2, 2, 2, 2)},
    "fashion-mnist": {"train": (4,) * 10, "test": (2,) * 10},
}


def contents(dataset: str = "mnist") -> dict[str, bytes]:
    random = np.random.default_rng(0)
    found = {}
    for name, shape in FILES:
        sizes = b"".join(size.to_bytes(4, "big") for size in shape)
        counts = COUNTS[dataset]["train" if name.startswith("train") else "test"]
        values = random.integers(0, 256, shape) if "images" in name else np.repeat(np.arange(10), counts)
        content = bytes([0, 0, 8, len(shape)]) + sizes + values.astype(np.uint8).tobytes()
        found[name] = gzip.compress(content, mtime=0)
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the published files be small ones, and no address exist."""
    for kind in (mnist.Mnist, mnist.FashionMnist):
        files = tuple(
            File(name, len(body), hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest())
            for name, body in contents(kind.name).items()
        )
        monkeypatch.setattr(kind, "files", files)
        monkeypatch.setattr(kind, "addresses", ("http://127.0.0.1:9/",))
        monkeypatch.setattr(kind, "counts", COUNTS[kind.name])


def unpacked(folder: Path, dataset: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, body in contents(dataset).items():
        (folder / file.removesuffix(".gz")).write_bytes(gzip.decompress(body))


@pytest.mark.parametrize("place", ["", "raw", "BELOW/raw"])
@pytest.mark.parametrize(("name", "below"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_files_on_disk_are_read(tmp_path: Path, name: str, below: str, place: str) -> None:
    unpacked(tmp_path / place.replace("BELOW", below), name)
    source = find_source(name, tmp_path)
    assert source.is_here()
    train, test = source.load("train"), source.load("test")
    assert train.images.shape == (40, 1, 28, 28)
    assert len(test) == 20
    assert len(train.classes) == 10
    assert len(train.mean) == 1
    assert source.record() == {"name": name}


def test_both_datasets_below_one_folder_as_torchvision_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked(tmp_path / "MNIST" / "raw", "mnist")
    unpacked(tmp_path / "FashionMNIST" / "raw", "fashion-mnist")
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path))
    for source in (find_source("fashion-mnist", tmp_path), find_source("fashion-mnist")):
        assert np.bincount(source.load("train").labels).tolist() == [4] * 10
    assert np.bincount(find_source("mnist", tmp_path).load("test").labels).tolist() == [1, 3] + [2] * 8


def test_the_other_dataset_is_refused(tmp_path: Path) -> None:
    unpacked(tmp_path, "mnist")
    with pytest.raises(UserError, match=r"ubyte does not hold the labels of Fashion-MNIST, but of another dataset"):
        find_source("fashion-mnist", tmp_path).load("train")


def test_names_with_a_point(tmp_path: Path) -> None:
    unpacked(tmp_path, "mnist")
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(find_source("mnist", tmp_path).load("test")) == 20


def test_only_what_is_missing_is_downloaded(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in contents().items():
        server.serve(f"/m/{name}", body)
    monkeypatch.setattr(mnist.Mnist, "addresses", (server.url("/m/"),))
    unpacked(tmp_path, "mnist")
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert len(find_source("mnist", tmp_path).load("test")) == 20
    assert server.requests == ["/m/t10k-labels-idx1-ubyte.gz"]


def test_it_is_downloaded_once(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in contents().items():
        server.serve(f"/m/{name}", body)
    monkeypatch.setattr(mnist.Mnist, "addresses", ("http://127.0.0.1:9/", server.url("/m/")))
    root = tmp_path / "deep" / "er"
    assert len(find_source("mnist", root).load("train")) == 40
    assert len(find_source("mnist", root).load("test")) == 20
    assert len(server.requests) == 4
    assert sorted(path.name for path in root.iterdir()) == sorted(name for name, _ in FILES)


def test_without_a_network_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"^MNIST is not in .* and no source delivered train-images.*--data-dir$"):
        find_source("mnist", tmp_path).load("train")


def test_another_file_is_refused(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in contents().items():
        server.serve(f"/m/{name}", body[:-1] + b"!")
    monkeypatch.setattr(mnist.Mnist, "addresses", (server.url("/m/"),))
    with pytest.raises(DataUnavailable, match=r"delivered a file with MD5 .*, expected"):
        find_source("mnist", tmp_path).load("train")
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_and_full_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, body in contents().items():
        (tmp_path / file).write_bytes(body)
    monkeypatch.setattr(mnist.Mnist, "counts", {"train": (41,), "test": (20,)})
    with pytest.raises(UserError, match=r"expected 41 images of 28x28 pixels and their labels; delete"):
        find_source("mnist", tmp_path).load("train")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thimble.data.published.download", full)
    with pytest.raises(RunError, match=r"No space left on device, while writing MNIST"):
        find_source("mnist", tmp_path / "new").load("train")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"expected a folder for MNIST"):
        find_source("mnist", tmp_path / "file" / "x").load("train")


def test_digits_are_trained_by_the_recipe_that_does_not_mirror_them() -> None:
    assert default_recipe("mnist") == "own"
    assert default_recipe("cifar10") == "fast"
