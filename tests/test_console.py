"""The progress bars of a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from thimble.config import TrainConfig
from thimble.console import TrainingConsole
from thimble.progress import Progress


def test_the_bar_of_an_epoch_has_the_steps_of_that_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(num_batches=10, num_steps=17, num_processes=1)
    with TrainingConsole() as console:
        console.start(Path("run"), TrainConfig(skip_easy=0.3), progress)
        for count in (10, 7):  # the second epoch leaves out easy images
            progress.num_batches = count
            for batch in range(1, count + 1):
                progress.advance(16)
                progress.add(20.0, 8, 0.1)
                console.step(progress)
                epoch, run = console.bars.tasks
                assert (epoch.completed, epoch.total) == (batch, count)
            progress.end_epoch(None, 0.1)
        assert (run.completed, run.total) == (17, 17)
    assert "later on the harder images" in capsys.readouterr().out
