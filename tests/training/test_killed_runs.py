"""Runs that are killed at any moment, within a save too, end like runs that nobody killed, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

ROUNDS = int(os.environ.get("THIMBLE_KILL_ROUNDS", "2"))


@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_last_bit(tmp_path: Path) -> None:
    script = ROOT / "tests" / "killed_runs.py"
    command = [sys.executable, "-W", "error", str(script), str(tmp_path), str(ROUNDS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180 + 90 * ROUNDS)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same to the last bit") == ROUNDS
