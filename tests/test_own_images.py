"""Every verb works on own images: here grey photos of two unequal classes, from a .zip, moved between two commands."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from own_pictures import photos, write

from thimble.cli import main as cli
from thimble.storage.find import load_model

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_cache")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = write(tmp_path / "scans", photos(60, 40, 36, grey=True))
    with zipfile.ZipFile("scans.zip", "w") as file:
        for path in sorted(root.rglob("*.png")):
            file.write(path, path.relative_to(tmp_path))
    options = ["--model", "reference", "--epochs", "1", "--batch-size", "8", "--device", "cpu", "--name", "mine"]
    assert cli.main(["train", "--data", "scans.zip", "--no-report", *options]) == 0
    return tmp_path / "runs" / "mine"


def test_every_verb(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(run)
    assert (model.input_size, model.classes, model.fit) == ((1, 32, 32), ("cat", "dog"), "crop")
    photo = str(run.parent.parent / "scans" / "cat" / "1.png")
    for command in (
        ["evaluate", "runs/mine"],
        ["predict", "scans", "--model", "runs/mine", "--csv", "answers.csv"],
        ["explain", photo, "--model", "runs/mine", "--output", "why.png"],
        ["report", "runs/mine"],
        ["compare", "runs/mine", "runs/mine"],
        ["card", "runs/mine", "--output", "card.md"],
        ["summary", "runs/mine"],
        ["export", "runs/mine", "--output", "a.onnx"],
        ["export", "runs/mine", "--format", "onnx-int8", "--output", "b.onnx"],
        ["export", "runs/mine", "--format", "c", "--output", "a.c"],
        ["data", "scans.zip", "--page", "scans.html", "--preview", "views.png"],
    ):
        assert cli.main(command) == 0, command
        capsys.readouterr()
    assert Path("a.onnx.labels.txt").read_text("utf-8") == "cat\ndog\n"
    assert len(Path("answers.csv").read_text("utf-8").splitlines()) == 61
    assert str(run.parent.parent) not in Path("card.md").read_text("utf-8")


def test_the_images_may_move_but_not_change(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("scans.zip").rename("moved.zip")
    assert cli.main(["evaluate", "runs/mine"]) == 2
    assert "scans.zip" in capsys.readouterr().err
    assert cli.main(["evaluate", "runs/mine", "--data", "moved.zip", "--json"]) == 0
    moved = json.loads(capsys.readouterr().out)
    assert moved["part"] == "test"
    assert moved["num_images"] < 30
    assert cli.main(["evaluate", "runs/mine", "--data", "scans", "--json"]) == 0  # the same images as a folder
    same = json.loads(capsys.readouterr().out)
    assert same["confusion"] == moved["confusion"]
    write(Path("more"), photos(7, 40, 36, grey=True))
    assert cli.main(["evaluate", "runs/mine", "--data", "more", "--json"]) == 0  # others: all of them
    others = json.loads(capsys.readouterr().out)
    assert (others["part"], others["num_images"]) == ("all", 7)
