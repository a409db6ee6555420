"""docs/extending/export_format.md, followed word for word on a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from safetensors import safe_open

PAGE = (ROOT / "docs" / "extending" / "export_format.md").read_text(encoding="utf-8")
BLOCK = r"```python\n(.*?)```\n"
TRY = """
import sys, pytest
from thimble.cli.main import main
code = main(sys.argv[1].split()[1:])
sys.exit(code or pytest.main(["-q", "-p", "no:cacheprovider", sys.argv[2]]))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the page's files and its row."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name, source in re.findall(rf"^`(\S+\.py)`:\n\n{BLOCK}", PAGE, re.MULTILINE | re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
    ((name, row),) = re.findall(rf"\*\*2\. Add a row\*\* to `FORMATS` in `(\S+)`[^\n]*\n\n{BLOCK}", PAGE, re.DOTALL)
    assert row.count("\n") == 1
    table = (folder / name).read_text(encoding="utf-8")
    start, end = re.split(r"(?<=\n)(?=\}\n# fmt: on)", table)
    (folder / name).write_text(start + row + end, encoding="utf-8")
    return folder


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "THIMBLE_DATA": str(checkout / "no data")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_the_new_format_is_offered_with_its_help(checkout: Path) -> None:
    done = run(checkout, "-m", "thimble", "export", "--help")
    assert done.returncode == 0, done.stderr
    assert "torch,executorch,c,folded}" in done.stdout
    assert "folded: float32, its layers in a row" in " ".join(done.stdout.replace("│", " ").split())


def test_the_new_format_makes_a_checked_file_and_its_test_passes(checkout: Path) -> None:
    (command,) = re.findall(r"```sh\n(thimble export .*)\n```", PAGE)
    (test,) = (checkout / "tests").rglob("test_*.py")
    done = run(checkout, "-c", TRY, command, str(test))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert done.stderr == ""
    (path,) = checkout.glob("*-folded.safetensors")
    assert path.name == "reference-folded.safetensors"
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["thimble"])["model"] == "reference"
