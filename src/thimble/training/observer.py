"""Define Observer, which a run informs of its progress."""

from __future__ import annotations

from pathlib import Path

from thimble.data.source import Source
from thimble.storage.logs import Row

from .config import TrainConfig
from .progress import Progress


class Observer:
    """Receives a run's progress. This one ignores it; subclass it, as the command line's progress bars do."""

    def message(self, text: str) -> None:
        """Called with a message for the user."""

    def data(self, source: Source) -> None:
        """Called when the training images are loaded."""

    def start(self, run: Path, config: TrainConfig, progress: Progress) -> None:
        """Called before the first step."""

    def step(self, progress: Progress) -> None:
        """Called when steps are done: after every step on a CPU, after every epoch's last step on a GPU."""

    def epoch(self, row: Row) -> None:
        """Called when an epoch is trained, validated and saved."""
