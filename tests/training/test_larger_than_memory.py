"""Images on the disk are trained on in the memory that some of them need, however many there are."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from places import ROOT
from training_runs import with_session

from thimble.data.dataset import ImageDataset
from thimble.data.rows import mapped, rows_of, unread
from thimble.data.shapes10 import shapes10
from thimble.training import session
from thimble.training.train import train

FEW, MANY = 5_000, 22_000
"""Numbers of images; already of the fewer, the batches of training, validation and test are full ones."""


@pytest.fixture
def on_disk(tmp_path: Path) -> ImageDataset:
    """120 drawings in a file, in the order of their classes."""
    drawings = shapes10(120)
    drawings = drawings.subset(drawings.labels.argsort(stable=True))
    (tmp_path / "pixels").write_bytes(drawings.images.numpy().tobytes())
    images = rows_of(mapped(tmp_path / "pixels", (120, 3, 32, 32)), torch.arange(120))
    return dataclasses.replace(drawings, images=images, numbers=None)


def test_some_training_images_are_of_all_classes(
    on_disk: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ImageDataset] = []
    with_session(monkeypatch, lambda begun: seen.append(begun.data))
    settings: dict[str, Any] = {
        "model": "tiny",
        "epochs": 1,
        "batch_size": 10,
        "validation": 0,
        "train_images": 50,
        "device": "cpu",
    }
    train(data=(on_disk, on_disk), runs=tmp_path / "runs", precision="float32", **settings)
    assert torch.bincount(seen[0].labels).tolist() == [5] * 10
    assert unread(seen[0].images) is not None


@pytest.mark.parametrize(
    ("free_bytes", "must_fit", "stay"), [(800_000, False, False), (700_000, False, True), (0, True, False)]
)
def test_images_on_disk_move_to_a_device_that_has_room(
    free_bytes: int, must_fit: bool, stay: bool, on_disk: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 drawings are 368,640 bytes. The device is one without memory, which is enough to count."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_bytes, 2**40))
    images = session._moved(on_disk.images, torch.device("meta"), must_fit)
    assert images.device.type == ("cpu" if stay else "meta")
    assert (unread(images) is not None) == stay
    assert images.shape == (120, 3, 32, 32)


def test_images_on_disk_are_moved_in_pieces(on_disk: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_CHUNK", 50)
    rows, memory = unread(on_disk.images), torch.device("cpu")
    assert rows is not None
    rows.device = torch.device("meta")  # as if they were elsewhere
    moved = session._moved(on_disk.images, memory, must_fit=True)
    assert torch.equal(moved, rows[:])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no RssAnon here")
def test_training_on_more_images_takes_no_more_memory(tmp_path: Path) -> None:
    script = ROOT / "tests" / "mapped_training.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    needed = []
    for count in (FEW, MANY):
        command = [sys.executable, "-W", "error", str(script), str(tmp_path), str(count)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        needed.append(int(done.stdout.splitlines()[-1]))
    assert (MANY - FEW) * 3 * 64 * 64 > 200e6
    assert needed[1] - needed[0] < 150e6, needed
