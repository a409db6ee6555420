"""CIFAR-10 on disk, with small files of the same layout."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cifar10_files import RECORDS, message, records, small_and_offline, write_folder

from thimble.data.cifar10 import data_folder
from thimble.data.sources import load_dataset
from thimble.errors import RunError, UserError

__all__ = ["small_and_offline"]

as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")


# On disk


def test_reads_pixels_and_labels_as_they_are(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin")
    train = load_dataset("cifar10", "train", tmp_path)
    assert train.images.shape == (5 * RECORDS, 3, 32, 32)
    assert train.labels.dtype == torch.int64
    third = records(3)
    assert train.labels[2 * RECORDS + 4] == third[4 * 3073]
    # Channel by channel, row by row: pixel (row 2, column 5) of the green channel of the file's fifth image.
    assert train.images[2 * RECORDS + 4, 1, 2, 5] == third[4 * 3073 + 1 + 1024 + 2 * 32 + 5]
    test = load_dataset("cifar10", "test", tmp_path)
    assert len(test) == RECORDS
    assert test.images.numpy().tobytes() == np.frombuffer(records(6), np.uint8).reshape(-1, 3073)[:, 1:].tobytes()
    assert (test.classes[0], test.classes[9], test.mean[0], test.std[2]) == ("airplane", "truck", 0.4914, 0.26159)


def test_takes_the_folder_itself_or_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "anything")
    assert len(load_dataset("cifar10", "test", folder)) == RECORDS
    monkeypatch.setenv("THIMBLE_DATA", str(folder))
    assert len(load_dataset("cifar10", "test")) == RECORDS
    write_folder(tmp_path / "cifar-10-batches-bin", batches=None)
    assert len(load_dataset("cifar10", "test", tmp_path)) == RECORDS


def test_data_folder_prefers_argument_then_environment_then_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THIMBLE_DATA", "/from/environment")
    assert data_folder(Path("/given")) == Path("/given")
    assert data_folder() == Path("/from/environment")
    monkeypatch.setenv("THIMBLE_DATA", "")
    assert data_folder().name == "thimble"
    assert data_folder(Path("~/x")) == Path.home() / "x"


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_4", "test_batch"])
def test_missing_file_is_named_whichever_part_is_asked_for(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin", **{name: None})
    for part in ("train", "test"):
        text = message(UserError, tmp_path, part)
        assert f"{name}.bin is missing" in text
        assert f"delete {tmp_path / 'cifar-10-batches-bin'} and run again" in text


@pytest.mark.parametrize("length", [0, 3073 * RECORDS - 1, 3073 * RECORDS + 3073])
def test_truncated_or_swollen_file_is_named(tmp_path: Path, length: int) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin", data_batch_2=(records(2) * 2)[:length])
    text = message(UserError, tmp_path, "test")
    assert f"data_batch_2.bin has {length:,} bytes: expected {3073 * RECORDS:,}" in text


def test_foreign_label_is_named(tmp_path: Path) -> None:
    content = bytearray(records(5))
    content[7 * 3073] = 77
    write_folder(tmp_path / "cifar-10-batches-bin", data_batch_5=bytes(content))
    assert "record 7 of" in (text := message(UserError, tmp_path))
    assert "data_batch_5.bin has label 77: expected 0 to 9" in text


def test_unbalanced_classes_are_named(tmp_path: Path) -> None:
    content = bytearray(records(6))
    position = next(index for index in range(0, len(content), 3073) if content[index] == 3)
    content[position] = 4
    write_folder(tmp_path / "cifar-10-batches-bin", test_batch=bytes(content))
    assert "holds 1 images of class 3 (cat) in test_batch.bin: expected 2" in message(UserError, tmp_path, "test")
    assert len(load_dataset("cifar10", "train", tmp_path)) == 5 * RECORDS


def test_constant_content_is_named(tmp_path: Path) -> None:
    values = np.zeros((RECORDS, 3073), np.uint8)
    values[:, 0] = np.arange(RECORDS) % 10
    write_folder(tmp_path / "cifar-10-batches-bin", test_batch=values.tobytes())
    assert "test_batch.bin is 0: expected photographs" in message(UserError, tmp_path, "test")


@pytest.mark.parametrize("names", [b"", b"apple\nbear\n", b"\xff\xfe"])
def test_foreign_class_names_are_named(tmp_path: Path, names: bytes) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin", batches=names)
    assert "expected airplane automobile" in message(UserError, tmp_path)


def test_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file: expected a folder" in message(UserError, tmp_path / "file")
    message(UserError, tmp_path / "file" / "below")
    (tmp_path / "cifar-10-batches-bin").write_text("")
    assert "is not a folder" in message(UserError, tmp_path)


def test_empty_folder_and_dangling_link_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a" / "cifar-10-batches-bin").mkdir(parents=True)
    assert "data_batch_1.bin is missing" in message(UserError, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cifar-10-batches-bin").symlink_to(tmp_path / "nowhere")
    message(UserError, tmp_path / "b")


@as_root
def test_unwritable_and_unreadable_folders(tmp_path: Path) -> None:
    (tmp_path / "unwritable").mkdir(mode=0o500)
    assert "Permission denied" in message(UserError, tmp_path / "unwritable")
    write_folder(tmp_path / "unreadable" / "cifar-10-batches-bin")
    (tmp_path / "unreadable" / "cifar-10-batches-bin" / "test_batch.bin").chmod(0)
    assert "Permission denied" in message(UserError, tmp_path / "unreadable", "test")


@pytest.mark.parametrize(("code", "kind"), [(errno.EACCES, UserError), (errno.EROFS, UserError), (errno.EIO, RunError)])
def test_disk_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code), str(tmp_path / "new"))

    monkeypatch.setattr(Path, "mkdir", fail)
    assert os.strerror(code) in message(kind, tmp_path / "new")


# Over the network


def test_import_of_the_package_is_light() -> None:
    code = (
        "import sys, thimble.data; print([m for m in ('pooch', 'requests', 'PIL', 'torchvision') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
