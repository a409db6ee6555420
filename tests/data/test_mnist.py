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


def contents() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    found = {}
    for name, shape in FILES:
        sizes = b"".join(size.to_bytes(4, "big") for size in shape)
        values = random.integers(0, 10, shape).astype(np.uint8)
        found[name] = gzip.compress(bytes([0, 0, 8, len(shape)]) + sizes + values.tobytes(), mtime=0)
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the published files be small ones, and no address exist."""
    files = tuple(File(name, len(body), hashlib.md5(body).hexdigest()) for name, body in contents().items())
    for kind in (mnist.Mnist, mnist.FashionMnist):
        monkeypatch.setattr(kind, "files", files)
        monkeypatch.setattr(kind, "addresses", ("http://127.0.0.1:9/",))
    monkeypatch.setattr(mnist, "_COUNTS", {"train": 40, "test": 20})


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_files_on_disk_are_read(tmp_path: Path, name: str, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for file, body in contents().items():
        (tmp_path / place / file.removesuffix(".gz")).write_bytes(gzip.decompress(body))
    source = find_source(name, tmp_path)
    assert source.is_here()
    train, test = source.load("train"), source.load("test")
    assert train.images.shape == (40, 1, 28, 28)
    assert len(test) == 20
    assert len(train.classes) == 10
    assert len(train.mean) == 1
    assert source.record() == {"name": name}


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
    monkeypatch.setattr(mnist, "_COUNTS", {"train": 41, "test": 20})
    with pytest.raises(UserError, match=r"expected 41 images of 28x28 pixels with labels from 0 to 9"):
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
