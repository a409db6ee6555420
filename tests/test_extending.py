"""docs/extending/: what each page adds is added as the page says, and works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from extending_pages import commands, follow, python, read_page, run
from places import ROOT
from safetensors import safe_open

from thimble.cli.verbs import list_verbs

pytestmark = pytest.mark.slow
OLD_RUN = ROOT / "tests" / "fixtures" / "run_688e9de"


def test_the_page_makes_an_architecture(tmp_path: Path) -> None:
    page = read_page("architecture")
    follow(page, tmp_path)
    shutil.copytree(ROOT / "tests" / "models", tmp_path / "tests" / "models")
    printed = run(tmp_path, commands(page))
    assert "plain, input 3x32x32" in printed
    assert (tmp_path / "plain.onnx").is_file()


def test_the_page_makes_a_dataset_for_every_verb(tmp_path: Path) -> None:
    page = read_page("dataset")
    follow(page, tmp_path)
    lines = commands(page)
    used = {line.split()[1] for line in lines}
    assert set(list_verbs()) - used == {"demo", "summary"}  # a page to click on; and a verb that needs no data
    printed = run(tmp_path, ["pytest tests/data/test_stripes.py", *lines])
    assert "200 test images of stripes" in " ".join(printed.split())
    weights = tmp_path / "runs" / "stripes"
    assert json.loads((weights / "data.json").read_text()) == {"name": "stripes"}
    assert {"stripes.png", "stripes.onnx", "bank.safetensors", "explanation.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert "stripes" in (weights / "report.html").read_text()


def test_the_page_makes_a_training_trick(tmp_path: Path) -> None:
    follow(read_page("training_trick"), tmp_path)
    train = "thimble train --recipe reference --augmenter batched --data shapes10 --train-images 20 --validation 0"
    train += " --epochs 1 --batch-size 10 --image-sizes 8 --device cpu --no-report --name"
    runs = {"plain": "", "silent": " --noise 0", "noisy": " --noise 0.5"}
    run(
        tmp_path, ["pytest tests/training/test_noise.py", *(f"{train} {name}{option}" for name, option in runs.items())]
    )
    rows = {name: (tmp_path / "runs" / name / "metrics.csv").read_text().splitlines()[1] for name in runs}
    losses = {name: row.split(",")[1] for name, row in rows.items()}
    assert losses["plain"] == losses["silent"] != losses["noisy"]
    settings = {name: json.loads((tmp_path / "runs" / name / "config.json").read_text()) for name in runs}
    assert {name: found["noise"] for name, found in settings.items()} == {"plain": 0.0, "silent": 0.0, "noisy": 0.5}
    assert "noise" not in json.loads((OLD_RUN / "config.json").read_text())
    read = "from thimble.training.config_file import read_config\nfrom pathlib import Path\n"
    check = f"{read}print(read_config(Path({str(OLD_RUN)!r})).input_noise)"
    assert python(tmp_path, check) == "NoiseConfig(noise=0.0)\n"  # a run of before there was noise


def test_the_page_makes_an_export_format(tmp_path: Path) -> None:
    page = read_page("export_format")
    follow(page, tmp_path)
    run(tmp_path, [*commands(page), "pytest tests/exporting/test_folded_file.py"])
    with safe_open(tmp_path / "reference-folded.safetensors", "pt") as file:
        assert json.loads(file.metadata()["thimble"])["model"] == "reference"
    help_page = " ".join(python(tmp_path, "from thimble.exporting.formats import *; print(describe_formats())").split())
    assert "folded: float32, its layers in a row" in help_page


def test_the_page_makes_a_verb(tmp_path: Path) -> None:
    page = read_page("verb")
    follow(page, tmp_path)
    printed = run(tmp_path, ["pytest tests/cli/test_classes.py", *commands(page)])
    assert '"airplane"' in printed


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs" / "extending").glob("*.md"):
        assert f"(extending/{page.name})" in index
