"""docs/extending/training_trick.md, followed to the letter on a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from places import ROOT

PAGE = ROOT / "docs" / "extending" / "training_trick.md"
SCRIPT = """
import sys
from pathlib import Path

import pytest

import thimble
from thimble.cli.main import main
from thimble.data.shapes10 import Shapes10, shapes10
from thimble.data.sources import SOURCES
from thimble.training.config_file import read_config

here = Path.cwd()
assert Path(thimble.__file__).is_relative_to(here)
assert pytest.main(["-q", "-p", "no:cacheprovider", "tests/training/test_noise.py"]) == 0
SOURCES["shapes10"] = "__main__:Few"


class Few(Shapes10):
    def load(self, part, *, progress=False):
        return shapes10(20, seed=1)


options = "--recipe reference --augmenter batched --data shapes10 --validation 0 --epochs 1 --batch-size 10"
options += " --image-sizes 8 --device cpu --no-report"
for name, extra in (("plain", []), ("silent", ["--noise", "0"]), ("noisy", ["--noise", "0.5"])):
    assert main(["train", *options.split(), "--name", name, *extra]) == 0
assert main(["train", "--noise", "11"]) == 2
assert read_config(Path(sys.argv[1])).input_noise.noise == 0.0  # a run of before
"""


def follow(page: str, copy: Path) -> None:
    """Write the page's files, and make its one-line edits: each is put behind the line that the page shows with it."""
    blocks = re.findall(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    for kind, name, text in blocks:
        path = copy / name
        if kind == "python":
            path.parent.mkdir(parents=True, exist_ok=True)
            assert not path.exists()
            path.write_text(text)
        else:
            [before, added] = text.splitlines()
            assert (before[0], added[0]) == (" ", "+")
            lines = path.read_text().splitlines()
            assert lines.count(before[1:]) == 1, before
            lines.insert(lines.index(before[1:]) + 1, added[1:])
            path.write_text("\n".join([*lines, ""]))


def test_the_page_makes_a_trick(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    follow(PAGE.read_text(), tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"}
    old = ROOT / "tests" / "fixtures" / "run_688e9de"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(old)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "thimble: --noise 11.0: expected a number from 0 to 10\n"
    losses = {
        name: (tmp_path / "runs" / name / "metrics.csv").read_text().splitlines()[1].split(",")[1]
        for name in ("plain", "silent", "noisy")
    }
    assert losses["plain"] == losses["silent"] != losses["noisy"]
    noises = {name: json.loads((tmp_path / "runs" / name / "config.json").read_text())["noise"] for name in losses}
    assert noises == {"plain": 0.0, "silent": 0.0, "noisy": 0.5}
