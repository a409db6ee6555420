"""Show a training run's progress on the terminal."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from thimble.data.own.own_images import OwnImages
from thimble.data.source import Source
from thimble.storage.logs import Row
from thimble.system.names import shown
from thimble.training import progress as run_progress
from thimble.training.config import TrainConfig
from thimble.training.observer import Observer
from thimble.training.schedules import image_cost
from thimble.training.train import TrainResult
from thimble.training.tricks.hard_images import num_kept

from .examination_text import print_examination
from .tables import console_for_output

_WORTH_SAYING = 60
"""The fewest seconds to go that are told."""
_MANY_IMAGES = 1_000_000
"""Enough to count the part of the images that an epoch keeps."""


class TrainingConsole(Observer):
    """Progress bars for the epoch and the run, and a lasting line for every epoch, in a log file too."""

    def __init__(self) -> None:
        self.console = console_for_output()
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.epochs = 0
        self.config = TrainConfig()
        self.estimated = False

    def __enter__(self) -> TrainingConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def message(self, text: str) -> None:
        self.console.print(shown(text), style="bold yellow")

    def data(self, source: Source) -> None:
        if isinstance(source, OwnImages):
            print_examination(source.examine(), brief=True)

    def start(self, run: Path, config: TrainConfig, progress: run_progress.Progress) -> None:
        self.epochs, self.config = config.schedule.epochs, config
        begun = f", from step {progress.step} of {progress.num_steps}" if progress.step else ""
        epochs = f"{self.epochs} {'epoch' if self.epochs == 1 else 'epochs'}"
        what = f"training {config.network.model} on {config.dataset.data}, {epochs}{begun}, in {run}"
        self.console.print(shown(what), soft_wrap=True)
        skipped = " (later on the harder images only)" if config.hard_images.skip_easy else ""
        validated = "; validation uses the averaged weights" if config.dataset.validation != 0 else ""
        growing = "; images grow to full size over the epochs" if config.schedule.image_sizes else ""
        self.console.print(f"each line: training loss and accuracy{skipped}{validated}{growing}", style="dim")
        self.bars.start()
        self.epoch_bar = self.bars.add_task("epoch", total=progress.num_batches, completed=progress.batch, now="")
        self.run_bar = self.bars.add_task("run", total=progress.num_steps, completed=progress.step, now="")

    def step(self, progress: run_progress.Progress) -> None:
        speed = f"{progress.images / progress.seconds:.0f} images/s"
        now = f"loss {progress.loss_sum / progress.images:.3f}  accuracy {progress.correct / progress.images:.1%}"
        name = f"epoch {progress.epoch + 1}"
        if progress.batch == 1:
            self.bars.reset(self.epoch_bar)  # else its time estimate would start from the last epoch's end
        # The total changes: an epoch that leaves out easy images has fewer steps.
        self.bars.update(
            self.epoch_bar,
            total=progress.num_batches,
            completed=progress.batch,
            description=name,
            now=f"{now}  {speed}",
        )
        self.bars.update(self.run_bar, completed=progress.step)

    def epoch(self, row: Row) -> None:
        line = f"epoch {row['epoch']:>3}/{self.epochs}  train {row['train_loss']:.3f} {row['train_accuracy']:6.2%}"
        if row["validation_loss"] is not None:
            line += f"  validation {row['validation_loss']:.3f} {row['validation_accuracy']:6.2%}"
        self.console.print(f"{line}  {row['seconds']:.0f} s, {row['images_per_second']:.0f} images/s")
        if not self.estimated:
            self.estimated = True
            left = seconds_left(self.config, int(row["epoch"]), float(row["seconds"]))
            if left > _WORTH_SAYING:
                self.console.print(f"{_roughly(left)} to go", style="dim")

    def finish(self, result: TrainResult) -> None:
        """Print the result."""
        self.bars.stop()
        low, high = result.test.accuracy_interval
        images = f"{result.test.num_images:,} {shown(result.test.data)} images"
        accuracy = (f"test accuracy {result.test.accuracy:.2%}", "bold")
        self.console.print(Text.assemble(accuracy, f" (95% interval {low:.2%} to {high:.2%}) of {images}"))
        place = f"{result.model.num_parameters:,} parameters; model and logs: {result.run}"
        self.console.print(shown(place), soft_wrap=True)


def seconds_left(config: TrainConfig, done: int, seconds: float) -> float:
    """Estimate how long the rest of a run takes, without validation, from the seconds of the epoch that ended last.

    Args:
        config: the run's settings.
        done: epochs so far, at least 1.
        seconds: the last one's.
    """
    schedule, skip_easy = config.schedule, config.hard_images.skip_easy
    costs = [
        image_cost(epoch, schedule.epochs, schedule.image_sizes)
        * num_kept(epoch, schedule.epochs, _MANY_IMAGES, skip_easy)
        for epoch in range(done - 1, schedule.epochs)
    ]
    return seconds * sum(costs[1:]) / costs[0]


def _roughly(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 90:
        return f"about {minutes:.0f} {'minute' if round(minutes) == 1 else 'minutes'}"
    return f"about {minutes / 60:.1f} hours"
