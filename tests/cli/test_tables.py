"""The tables that the verbs print, and the progress bars of a training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from training_runs import history

import thimble.cli.tables
from thimble.cli.tables import print_comparison, print_evaluation
from thimble.cli.training_bars import TrainingConsole, seconds_left
from thimble.measuring.comparison import ComparedModel, Comparison, Pair
from thimble.measuring.evaluation import Evaluation
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


def test_after_the_first_epoch_the_console_says_once_how_long_the_rest_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def epoch(console: TrainingConsole, progress: Progress, seconds: float) -> None:
        progress.advance(16)
        progress.add(20.0, 8, seconds)
        console.epoch(progress.end_epoch(None, 0.1))

    for config, seconds, expected in (
        (TrainConfig.of(epochs=11), 7, "about 1 minute to go"),
        (TrainConfig.of(epochs=11), 5, None),  # not worth a line
        (TrainConfig.of(epochs=1), 6, None),
        (TrainConfig.of(epochs=41), 60, "about 40 minutes to go"),
        (TrainConfig.of(epochs=201), 60, "about 3.3 hours to go"),
        (TrainConfig.of(epochs=41, skip_easy=0.5), 60, "about 25 minutes to go"),  # ten whole epochs, thirty halves
        (TrainConfig.of(epochs=10, image_sizes=(0.5, 1.0)), 60, "about 21 minutes to go"),  # 4 + 5 / 0.3
        (TrainConfig.of(epochs=10, image_sizes=(16, 32)), 60, "about 21 minutes to go"),
    ):
        with TrainingConsole() as console:
            progress = Progress(num_batches=1, num_steps=config.schedule.epochs, num_processes=1)
            console.start(Path("run"), config, progress)
            epoch(console, progress, seconds)
            if config.schedule.epochs > 1:
                epoch(console, progress, seconds)
        said = [line for line in capsys.readouterr().out.splitlines() if "to go" in line]
        assert said == ([] if expected is None else [expected])


def test_a_resumed_run_estimates_from_the_epoch_that_it_saw() -> None:
    config = TrainConfig.of(epochs=10, image_sizes=(0.5, 1.0))
    assert seconds_left(config, 9, 100.0) == 100.0
    assert seconds_left(config, 6, 100.0) == 400.0
    assert seconds_left(config, 10, 100.0) == 0.0


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


def evaluation(num_classes: int, images: int = 30) -> Evaluation:
    """Each class has as many images; those of every second one are all predicted as the class before."""
    names = [f"a long class name {number}" for number in range(num_classes)]
    counts = [[0] * num_classes for _ in names]
    for index in range(num_classes):
        counts[index][index - index % 2] = images
    share = {name: 1.0 - index % 2 for index, name in enumerate(names)}
    return Evaluation("m", "d", images * num_classes, False, 0.5, (0.4, 0.6), share, counts, 1.0, 0.1, "test")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("num_classes", [2, 10, 16, 81, 242])
def test_an_evaluation_fits_whatever_the_number_of_classes(
    num_classes: int, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("thimble.cli.tables.console_for_output", lambda: thimble.cli.tables._Console(width=width))
    print_evaluation(evaluation(num_classes))
    out = capsys.readouterr().out
    assert all(len(line) <= width for line in out.splitlines())
    assert len(out.splitlines()) < 65
    assert "…" not in out
    for word in ("top-1 accuracy", "balanced accuracy", "macro F1", "recall", "precision"):
        assert word in out
    fits = num_classes <= 10 or (num_classes == 16 and width == 120)
    assert ("Confusion matrix" in out) == fits
    assert ("The most frequent mistakes" in out) != fits
    assert (f"The 10 classes of {num_classes} with the lowest recall" in out) == (num_classes > 20)


def test_an_evaluation_says_what_there_is_and_warns(capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(dataclasses.replace(evaluation(2, 5), auroc=0.75, auroc_interval=(0.5, 0.9), part="all"))
    out = " ".join(capsys.readouterr().out.split())
    assert "m on 10 images of d" in out
    assert "area under the ROC curve 75.00% 50.00-90.00%" in out
    assert "top-5" not in out
    assert "2 of 2 classes have fewer than 10 images:" in out
    nothing = evaluation(2)
    nothing = dataclasses.replace(nothing, confusion=[[30, 0], [0, 0]])
    print_evaluation(nothing)
    out = " ".join(capsys.readouterr().out.split())
    assert "a long class name 1 0 - - - - -" in out
    assert "nan" not in out
    print_evaluation(dataclasses.replace(evaluation(30), top5_accuracy=0.9))
    out = " ".join(capsys.readouterr().out.split())
    assert "top-5 accuracy 90.00%" in out
    assert "a long class name 1 a long class name 0 30 100.0%" in out
