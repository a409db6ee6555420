"""How far a training run is: what it counts from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

from thimble.storage.logs import Row


@dataclass
class Progress:
    """All that changes from step to step, but for tensors.

    Attributes:
        num_batches: steps in the epoch under way.
        num_steps: steps in the run.
        num_processes: those that share every batch; the augmentation of an image depends on which of them has it.
        teacher, bank: the SHA-256 of the teacher's file and of the bank; empty without one.
        epoch: epochs completed.
        batch: steps completed in the epoch under way.
        step: steps completed in the run.
        loss_sum, correct, images, seconds: totals of the epoch under way.
        history: a row of metrics.csv for every epoch completed.
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
        """Count what came of the steps since the last call."""
        self.loss_sum, self.correct, self.seconds = (
            self.loss_sum + loss_sum,
            self.correct + correct,
            self.seconds + seconds,
        )

    def end_epoch(self, validation: tuple[float, float] | None, learning_rate: float) -> Row:
        """Turn the totals, and validation's (loss, accuracy), into a row of metrics.csv and start the next epoch."""
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
