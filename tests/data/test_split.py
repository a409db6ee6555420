"""Parts of a dataset are put together without reading what is on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from own_pictures import photos, write

from thimble.cli import main as cli
from thimble.data.dataset import ImageDataset
from thimble.data.rows import rows_of, unread
from thimble.data.split import joined

IMAGES = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8)


def dataset(images: object, labels: list[int]) -> ImageDataset:
    return ImageDataset("x", images, torch.tensor(labels), ("a", "b"), (0.5,) * 3, (0.5,) * 3)  # type: ignore[arg-type]


def test_images_in_memory_are_joined() -> None:
    both = joined(dataset(IMAGES[:4], [0, 1, 0, 1]), dataset(IMAGES[4:6], [1, 1]))
    assert torch.equal(both.images, IMAGES[:6])
    assert both.labels.tolist() == [0, 1, 0, 1, 1, 1]


def test_images_on_disk_stay_there() -> None:
    one = dataset(rows_of(IMAGES, torch.tensor([8, 2])), [0, 1])
    other = dataset(rows_of(IMAGES, torch.tensor([5])), [1])
    both = joined(one, other)
    rows = unread(both.images)
    assert rows is not None
    assert rows.base is IMAGES
    assert rows.rows.tolist() == [8, 2, 5]


@pytest.mark.usefixtures("own_cache")
def test_without_validation_own_images_all_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x", photos(60))
    options = ["--model", "tiny", "--epochs", "1", "--batch-size", "8", "--device", "cpu", "--no-report"]
    assert cli.main(["train", "--data", "x", "--validation", "0", "--name", "all", *options]) == 0
    assert cli.main(["train", "--data", "x", "--name", "some", *options]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("length: ")]
    all_images, some = (int(line.split(" of ")[1].split()[0]) for line in lines)
    assert all_images > some
