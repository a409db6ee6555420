"""CIFAR-100, from disk and from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from download_server import Server

from thimble.data import cifar100
from thimble.data.published import File
from thimble.data.source import DataUnavailable
from thimble.data.sources import find_source
from thimble.errors import UserError


def records(count: int, *, wrong: int = 0) -> bytes:
    found = np.random.default_rng(0).integers(0, 256, (count, cifar100.RECORD_BYTES)).astype(np.uint8)
    found[:, 1] = np.arange(count) % 100
    found[:wrong, 1] = 7
    return found.tobytes()


def archive(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


GOOD = {"cifar-100-binary/train.bin": records(200), "cifar-100-binary/test.bin": records(100), "../evil": b"!"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar100, "COUNTS", {"train": 200, "test": 100})
    monkeypatch.setattr(cifar100, "ADDRESSES", ("http://127.0.0.1:9/",))


def serve(server: Server, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    server.serve("/cifar-100-binary.tar.gz", body)
    monkeypatch.setattr(cifar100, "ADDRESSES", (server.url("/"),))
    digests = hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest()
    file = File("cifar-100-binary.tar.gz", len(body), *digests)
    monkeypatch.setattr(cifar100, "ARCHIVE", file)


def test_it_is_downloaded_once_and_unpacked(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, monkeypatch, archive(GOOD))
    root = tmp_path / "x"
    train, test = (find_source("cifar100", root).load(part) for part in ("train", "test"))
    assert (len(train), len(test), len(train.classes)) == (200, 100, 100)
    assert train.images.shape == (200, 3, 32, 32)
    assert server.requests == ["/cifar-100-binary.tar.gz"]
    assert [path.name for path in root.iterdir()] == ["cifar-100-binary"]
    assert not (tmp_path / "evil").exists()
    assert find_source(str(root)).name == find_source(root / "cifar-100-binary").name == "cifar100"


def test_processes_that_download_at_once_do_not_disturb_each_other(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, monkeypatch, archive(GOOD))
    (tmp_path / "cifar-100-binary").mkdir()
    (tmp_path / "cifar-100-binary" / "train.bin").write_bytes(b"half")  # of a process that was killed
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: len(find_source("cifar100", tmp_path).load("train")), range(4)))
    assert found == [200] * 4
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cifar-100-binary", "test.bin", "train.bin"]


def test_the_folder_of_all_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name, content in GOOD.items():
        (folder / Path(name).name).write_bytes(content)
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path))
    assert find_source("cifar100").is_here()
    assert len(find_source("cifar100").load("test")) == 100


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"cifar-100-binary/train.bin": records(200)},
            r"archive of CIFAR-100 lacks cifar-100-binary/test.bin: run again",
        ),
        (
            {**GOOD, "cifar-100-binary/test.bin": b"short"},
            r"test.bin in the archive of CIFAR-100 is not a file of 307,400 bytes",
        ),
    ],
)
def test_another_archive(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], message: str
) -> None:
    serve(server, monkeypatch, archive(files))
    with pytest.raises(UserError, match=message):
        find_source("cifar100", tmp_path).load("train")


def test_no_archive_and_no_network(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataUnavailable, match="CIFAR-100 is not in"):
        find_source("cifar100", tmp_path).load("test")
    serve(server, monkeypatch, b"no archive")
    with pytest.raises(
        UserError, match=r"cannot unpack the archive of CIFAR-100 \(.*\): run again to download it anew"
    ):
        find_source("cifar100", tmp_path).load("test")


@pytest.mark.parametrize(
    ("content", "message"),
    [(records(100)[:-1], "bytes: expected 307,400"), (records(100, wrong=3), "as many images of each of 100 classes")],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "train.bin").write_bytes(records(200))
    (tmp_path / "test.bin").write_bytes(content)
    with pytest.raises(UserError, match=message):
        find_source("cifar100", tmp_path).load("test")
