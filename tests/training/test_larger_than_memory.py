"""Images on the disk are trained on in the memory that some of them need, however many there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

FEW, MANY = 5_000, 22_000
"""Numbers of images; already of the fewer, the batches of training, validation and test are full ones."""


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
