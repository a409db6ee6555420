"""The progress bars of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_runs import history

import thimble.cli.tables
from thimble.cli.tables import print_comparison
from thimble.cli.training_bars import TrainingConsole
from thimble.measuring.comparison import ComparedModel, Comparison, Pair
from thimble.training.config import TrainConfig
from thimble.training.progress import Progress


def test_the_bar_of_an_epoch_has_the_steps_of_that_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(num_batches=10, num_steps=17, num_processes=1)
    with TrainingConsole() as console:
        console.start(Path("run"), TrainConfig.of(skip_easy=0.3), progress)
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


def comparison(*names: str) -> Comparison:
    models = tuple(
        ComparedModel(name, "thimble-150k", 150_576, 59_265_344, 0.8746, (0.868, 0.881), 0.3921, 0.0123, tuple(rows))
        for name, rows in zip(names, [history(20), *[()] * len(names)], strict=False)
    )
    return Comparison("cifar10", 10_000, models, (Pair(0, 1, 312, 287, 0.326, 0.652), Pair(0, 1, 9, 99, 1e-9, 1e-9)))


def test_the_tables_fit_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("thimble.cli.tables.console_for_output", lambda: thimble.cli.tables._Console(width=80))
    print_comparison(comparison("runs/mine", "runs/another-[bold]"))
    ordinary = capsys.readouterr().out
    for name in ("runs/mine", "runs/another-[bold]"):  # whole, and not read as markup
        assert name in ordinary
    assert "59,265,344" in ordinary
    print_comparison(comparison("runs/" + "a" * 200, "runs/b"))
    long = capsys.readouterr().out
    assert sum(line.count("a" * 10) for line in long.splitlines()) > 8  # folded, not cut
    assert all(len(line) <= 80 for line in (ordinary + long).splitlines())
    assert "…" not in ordinary + long
