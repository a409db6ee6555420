"""A commit's subject has at most 72 letters: what the hook of .pre-commit-config.yaml refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("ü" * 72 + "\n", ""),
        ("a" * 73 + "\n", "the subject has 73 letters: expected at most 72"),
        ("Short\n\n" + "a" * 100 + "\n# " + "a" * 100, ""),
        ("\n# a comment first\n" + "a" * 80, "the subject has 80 letters: expected at most 72"),
        ("", ""),  # git refuses it by itself
    ],
    ids=["as long as it may be", "too long", "a long body", "after a comment", "empty"],
)
def test_a_subject_that_is_too_long_is_refused(message: str, refused: str, tmp_path: Path) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message, encoding="utf-8")
    script = ROOT / "scripts" / "check_subject.py"
    done = subprocess.run([sys.executable, str(script), str(file)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == (1 if refused else 0)
    assert done.stdout.startswith(refused)
    assert not done.stderr
    assert bool(done.stdout) == bool(refused)
