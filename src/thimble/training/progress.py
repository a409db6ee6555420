"""Count a training run's steps, epochs and results."""

from __future__ import annotations

from dataclasses import dataclass, field

from thimble.storage.logs import Row


@dataclass
class Progress:
    """A run's counters and totals: its state without tensors.

    Attributes:
        num_batches: steps in the current epoch.
        num_steps: steps in the run.
        num_processes: processes that share every batch; an image's augmentation depends on which process gets it.
        teacher, bank: the SHA-256 of the teacher's weights and of the bank; empty if there is none.
        epoch: completed epochs.
        batch: completed steps in the current epoch.
        step: completed steps in the run.
        loss_sum, correct, images, seconds: totals of the current epoch.
        history: one row of metrics.csv for every completed epoch.
    """

    num_batches: int
    num_steps: int
    num_processes: int
    teacher: str = ""
    bank: str = ""
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)

    def advance(self, images: int) -> None:
        """Count a step and its images."""
        self.batch, self.step, self.images = self.batch + 1, self.step + 1, self.images + images

    def add(self, loss_sum: float, correct: int, seconds: float) -> None:
        """Add the loss, correct predictions and seconds of the steps since the last call."""
        self.loss_sum, self.correct, self.seconds = (
            self.loss_sum + loss_sum,
            self.correct + correct,
            self.seconds + seconds,
        )

    def end_epoch(self, validation: tuple[float, float] | None, learning_rate: float) -> Row:
        """Make a row of metrics.csv from the totals and validation's (loss, accuracy), and start the next epoch."""
        row: Row = {
            "epoch": self.epoch + 1,
            "train_loss": self.loss_sum / self.images,
            "train_accuracy": self.correct / self.images,
            "validation_loss": validation[0] if validation else None,
            "validation_accuracy": validation[1] if validation else None,
            "learning_rate": learning_rate,
            "seconds": self.seconds,
            "images_per_second": self.images / self.seconds,
        }
        self.history.append(row)
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum, self.correct, self.images, self.seconds = 0.0, 0, 0, 0.0
        return row
