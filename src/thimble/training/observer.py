"""Who is told how a run goes."""

from __future__ import annotations

from pathlib import Path

from thimble.storage.logs import Row

from .config import TrainConfig
from .progress import Progress


class Observer:
    """What a run reports as it goes. Silent here; the command line's draws progress bars."""

    def message(self, text: str) -> None:
        """Something that a person should know, once."""

    def start(self, run: Path, config: TrainConfig, progress: Progress) -> None:
        """The first step is about to begin."""

    def step(self, progress: Progress) -> None:
        """A step is done."""

    def epoch(self, row: Row) -> None:
        """An epoch is done, validated and saved."""
