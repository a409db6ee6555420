"""From a messy folder to a trained network, as a person types it; and all that can be wrong with own images."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shared import one_line
from own_messy import CLASSES, everything_in, messy_folder
from own_pictures import photos, write
from PIL import Image

from thimble.cli import main as cli
from thimble.data.augment import preview
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset
from thimble.storage.find import load_model
from thimble.training.recipes import own

pytestmark = pytest.mark.usefixtures("own_cache")
FAST = ["--epochs", "1", "--batch-size", "8", "--device", "cpu", "--no-report"]


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    return messy_folder(tmp_path / "messy photos")


def test_a_messy_folder_is_understood_and_told(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything_in(messy)
    assert cli.main(["data", str(messy)]) == 0
    out = capsys.readouterr().out
    for expected in (
        "messy photos: class folders in train and val",
        "all 4 classes",
        "skipped: 2 hidden, 2 of the operating system",
        "unreadable, left out: 2",
        "train/2/cut.jpg: ",
        "train/2/text.jpg: ",
        "No readable images in class empty: left out of the classes.",
        "No test images were given: by hash, 15% of the training images test.",
        "is in several parts, such as train/cat/both.png (train) and val/cat/both.png (val)",
        "has several labels, such as train/1/two labels.png (train) and train/2/two labels.png (train)",
        "channels: 3: there are images with colours.",
        "deep images: 460 to 3,415: ",
    ):
        assert expected in out
    assert everything_in(messy) == before


def test_images_of_one_size_are_told_in_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "photos", photos(12))
    assert cli.main(["data", str(tmp_path / "photos")]) == 0
    assert "sizes: all images have 70 x 66 pixels" in capsys.readouterr().out


def test_a_preview_shows_what_training_on_own_images_would(messy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[AugmentConfig] = []

    def drawn(dataset: ImageDataset, config: AugmentConfig, *, seed: int) -> Image.Image:
        asked.append(config)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(preview, "preview", drawn)
    picture = str(messy.parent / "preview.png")
    assert cli.main(["data", str(messy), "--preview", picture]) == 0
    assert cli.main(["data", str(messy), "--preview", picture, "--scale-limit", "0.3"]) == 0
    assert cli.main(["data", str(messy), "--preview", picture, "--flip=horizontal"]) == 0  # the default of others
    assert asked == [
        own().augment,
        dataclasses.replace(own().augment, scale_limit=0.3),
        dataclasses.replace(own().augment, flip="horizontal"),
    ]


def test_a_messy_folder_as_json(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "--data", str(messy), "--json", "--page", str(messy.parent / "page.html")]) == 0
    assert (messy.parent / "page.html").is_file()
    found = json.loads(capsys.readouterr().out)
    assert list(found["classes"]) == CLASSES
    assert found["empty_classes"] == ["empty"]
    assert found["skipped"] == {"hidden": 2, "of the operating system": 2}
    assert set(found["unreadable"]) == {"train/2/cut.jpg", "train/2/text.jpg"}
    assert {"train/cat/both.png", "val/cat/both.png"} in map(set, found["duplicates"]["groups"])
    assert "train/cat/both.png" in found["duplicates"]["left_out"]
    assert "val/cat/both.png" not in found["duplicates"]["left_out"]
    assert found["classes"]["2"]["val"] == 0
    assert found["totals"]["test"] >= 4


def test_a_messy_folder_trains_and_nothing_is_written_there(
    messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything_in(messy)
    for path in (messy, *messy.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)
    monkeypatch.chdir(tmp_path)
    try:
        assert cli.main(["train", "--data", str(messy), "--name", "mine", "--model", "tiny", *FAST]) == 0
    finally:
        for path in (messy, *messy.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
    assert everything_in(messy) == before
    out = capsys.readouterr().out
    assert "all 4 classes" in out
    assert "test accuracy" in out
    assert load_model("runs/mine").classes == tuple(CLASSES)
    assert cli.main(["evaluate", "runs/mine", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["per_class"]) == CLASSES


def test_named_datasets_have_json_too_but_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "shapes10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"]["circle"]["test"] == 200
    assert cli.main(["data", "shapes10", "--page", str(tmp_path / "x.html")]) == 2
    assert "--page is for your own images" in one_line(capsys.readouterr().err)


def one_class(root: Path) -> Path:
    return write(root, {f"cat/{name[4:]}": content for name, content in photos(6).items()})


def only_in_test(root: Path) -> Path:
    files = list(photos(9).values())
    names = [f"{part}/{label}/{n}.png" for n, (part, label) in enumerate([("train", "a"), ("train", "b")] * 2)]
    names += [f"test/{label}/{n}.png" for n, label in enumerate("aabbc")]
    return write(root, dict(zip(names, files, strict=True)))


def unreadable_all(root: Path) -> Path:
    return write(root, {f"{label}/{number}.jpg": b"no image" for label in "ab" for number in range(3)})


def many_unreadable(root: Path) -> Path:
    return write(root, photos(30) | {f"cat/broken-{number}.jpg": b"no image" for number in range(20)})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: root, "has no images: expected files with endings"),
        (one_class, "has images of 1 class (cat): expected at least two"),
        (only_in_test, "has no training images of class c: expected some of each class"),
        (unreadable_all, "none of 6 files can be read, such as a/0.jpg"),
        (many_unreadable, "20 of 50 files cannot be read, such as cat/broken-0.jpg"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], build: Callable[[Path], Path], message: str
) -> None:
    (tmp_path / "x").mkdir()
    build(tmp_path / "x")
    assert cli.main(["train", "--data", str(tmp_path / "x"), "--runs", str(tmp_path / "runs"), *FAST]) == 2
    assert message in one_line(capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_duplicates_can_be_refused(messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--data", str(messy), "--duplicates", "refuse", "--runs", str(tmp_path), *FAST]) == 2
    assert "--duplicates refuse: " in one_line(capsys.readouterr().err)


def test_a_full_cache_disk_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    root = write(tmp_path / "x", photos(12))
    assert cli.main(["train", "--data", str(root), "--runs", str(tmp_path / "runs"), *FAST]) == 1
    assert "set THIMBLE_CACHE to a folder on another disk" in one_line(capsys.readouterr().err)


def test_images_that_changed_cannot_be_resumed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write(tmp_path / "x", photos(40))
    assert cli.main(["train", "--data", str(root), "--name", "mine", "--model", "tiny", *FAST]) == 0
    (root / "cat" / "1.png").write_bytes((root / "cat" / "3.png").read_bytes())
    capsys.readouterr()
    assert cli.main(["train", "--resume", "runs/mine", "--epochs", "2", "--no-report"]) == 2
    assert "runs/mine" in one_line(capsys.readouterr().err)


def test_some_of_the_training_images_are_of_all_classes(
    messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--train-images", "24", "--name", "some", "--model", "tiny", *FAST]
    assert cli.main(["train", "--data", str(messy), *options]) == 0
    found = re.search(r"as the largest class is ([0-9.]+) times the smallest", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) <= 3
