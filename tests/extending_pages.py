"""The how-to pages of docs/extending/, followed to the letter on a copy of the package.

A page's ``python`` blocks with a title are new files. Its ``diff`` blocks are one-line edits: the line with a plus goes
behind the line that the page shows before it. Its ``sh`` blocks are commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from places import ROOT

_RUN = """
import shlex, sys
import pytest
from thimble.cli.main import main
for line in sys.stdin.read().splitlines():
    program, *arguments = shlex.split(line)
    code = main(arguments) if program == "thimble" else pytest.main(["-q", "-p", "no:cacheprovider", *arguments])
    if code != 0:
        sys.exit(f"{line}: exit code {code}")
"""


def read_page(name: str) -> str:
    return (ROOT / "docs" / "extending" / f"{name}.md").read_text(encoding="utf-8")


def follow(page: str, copy: Path) -> None:
    """Copy the package, write the page's files, and make its edits."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", copy / "src", ignore=ignored)
    for kind, name, text in re.findall(
        r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    ):
        path = copy / name
        if kind == "python":
            path.parent.mkdir(parents=True, exist_ok=True)
            assert not path.exists(), f"{name} is there already"
            path.write_text(text, encoding="utf-8")
        else:
            [before, added] = text.splitlines()
            assert (before[0], added[0]) == (" ", "+")
            lines = path.read_text(encoding="utf-8").splitlines()
            assert lines.count(before[1:]) == 1, f"{name} has no line {before[1:]!r}"
            lines.insert(lines.index(before[1:]) + 1, added[1:])
            path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def commands(page: str) -> list[str]:
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def run(copy: Path, lines: list[str]) -> str:
    """Run commands, of Thimble and of pytest, in one process of the copy; returns what they print."""
    return python(copy, _RUN, "\n".join(lines))


def python(copy: Path, program: str, typed: str = "") -> str:
    """Run a program in the copy; returns what it prints."""
    paths = f"{copy / 'src'}:{ROOT / 'tests'}"
    # Without what tells a process to measure its coverage: the copy is not what the tests are to cover.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment = {**inherited, "PYTHONPATH": paths, "THIMBLE_DATA": str(copy / "no data"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=typed, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
