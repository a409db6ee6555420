"""What the tests of CIFAR-10 share: small files of the same layout, and a machine that reaches nothing else."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thimble.data import cifar10
from thimble.data.sources import load_dataset

RECORDS = 20


DEAD = "http://127.0.0.1:9/cifar-10-binary.tar.gz"  # the discard port: refused at once


def records(seed: int) -> bytes:
    """A file of ``RECORDS`` records, every class equally often, with pixels that follow from the seed."""
    random = np.random.RandomState(seed)
    values = random.randint(0, 256, (RECORDS, 3073), dtype=np.uint8)
    values[:, 0] = random.permutation(np.arange(RECORDS) % 10)
    return values.tobytes()


def files() -> dict[str, bytes]:
    content = {f"data_batch_{number}.bin": records(number) for number in range(1, 6)}
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return {**content, "test_batch.bin": records(6), "batches.meta.txt": ("\n".join(names) + "\n\n").encode()}


def write_folder(folder: Path, **changes: bytes | None) -> Path:
    """Write the data files into ``folder``; a change of ``test_batch`` replaces that file, or leaves it out if None."""
    folder.mkdir(parents=True)
    for name, content in files().items():
        changed = changes.get(name.split(".")[0], content)
        if changed is not None:
            (folder / name).write_bytes(changed)
    return folder


def archive(extra: list[tuple[tarfile.TarInfo, bytes]] | None = None) -> bytes:
    """A .tar.gz of the data files as the official one is made, preceded by ``extra`` members: always the same bytes."""
    buffer = io.BytesIO()
    # Else gzip writes down the time, and two archives of two seconds have two checksums.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for member, content in extra or []:
            tar.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in {**files(), "readme.html": b"<html></html>"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def small_and_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", RECORDS)
    monkeypatch.setattr(cifar10, "SOURCES", (DEAD,))
    monkeypatch.delenv("THIMBLE_CIFAR10_URL", raising=False)
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path / "from-environment"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    declare(monkeypatch, archive())


def declare(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Make ``body`` the one archive that is expected."""
    monkeypatch.setattr(cifar10, "ARCHIVE_BYTES", len(body))
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(body, usedforsecurity=False).hexdigest())
    monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", hashlib.sha256(body).hexdigest())


def message(kind: type[Exception], data_dir: Path | None, part: Any = "train") -> str:
    """The one line with which loading fails."""
    with pytest.raises(kind) as caught:
        load_dataset("cifar10", part, data_dir)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)
