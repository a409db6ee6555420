"""Save and load a training state, tensors and progress, in safetensors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from thimble.errors import UserError
from thimble.system.arguments import is_number, is_whole

from .tensor_file import TensorFile, open_tensors, save_tensors

STATE_FOLDER = "last.ckpt"
STATE_FILE = "state.safetensors"


def save_state(run: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Replace a run's training state atomically: a reader finds the old state or the new one, never a part.

    Raises:
        RunError: the state could not be written; the old state is untouched.
    """
    save_tensors(run / STATE_FOLDER / STATE_FILE, tensors, progress)


def load_state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a training state.

    Raises:
        UserError: the folder holds no complete training state.
    """
    with open_state(run) as file:
        return {name: file.read(name) for name in file.layouts}, file.metadata


@contextlib.contextmanager
def open_state(run: Path) -> Iterator[TensorFile]:
    """Open a training state, to check its contents before reading any tensor.

    Raises:
        UserError: the folder holds no complete training state.
    """
    path = run / STATE_FOLDER / STATE_FILE
    if not os.path.lexists(path):
        raise UserError(f"{run} holds no {STATE_FOLDER}/{STATE_FILE}: expected the folder of a run that has begun")
    with open_tensors(path) as file:
        yield file


ROW = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
    "images_per_second",
)
"""The fields of an epoch, in the order of metrics.csv. Without validation, its two fields are None."""
_COUNTS = ("num_batches", "num_steps", "num_processes", "epoch", "batch", "step", "images", "correct")
_TOTALS = ("loss_sum", "seconds")


def check_record(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of ``Progress`` in a state's metadata: their types, and that they agree with each other.

    Other fields are ignored, as a later version of Thimble may add some.

    Raises:
        ValueError: a field is missing, or has a value that no training can resume from; the message names it.
    """
    names = (*_COUNTS, *_TOTALS, "teacher", "history")
    missing = [name for name in names if name not in metadata]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    record = {name: metadata[name] for name in names}
    record["bank"] = metadata.get("bank", "")  # older states, from before banks, lack it
    for name in _COUNTS:
        if not is_whole(record[name]) or record[name] < 0:
            raise ValueError(f"{name} is {_short(record[name])}, expected a whole number of at least 0")
    for name in _TOTALS:
        if not is_number(record[name]) or record[name] < 0:
            raise ValueError(f"{name} is {_short(record[name])}, expected a number of at least 0")
    for name in ("teacher", "bank"):
        if not isinstance(record[name], str):
            raise ValueError(f"{name} is {_short(record[name])}, expected a SHA-256")
    _check_history(record["history"])
    begun = record["batch"] > 0
    if (record["epoch"], record["images"] > 0, record["seconds"] > 0) != (len(record["history"]), begun, begun):
        raise ValueError("its epochs, steps and images do not agree")
    if not record["batch"] <= record["step"] <= record["num_steps"] or record["batch"] > record["num_batches"]:
        raise ValueError(f"it is at step {record['step']:,} of {record['num_steps']:,}")
    return record


def _check_history(history: Any) -> None:
    if not isinstance(history, list):
        raise ValueError(f"history is {_short(history)}, expected a list of epochs")
    for number, row in enumerate(history, start=1):
        if not isinstance(row, dict) or row.keys() != set(ROW):
            raise ValueError(f"row {number} of its history has other columns than metrics.csv")
        for name, value in row.items():
            if not is_number(value) and not (value is None and name.startswith("validation")):
                raise ValueError(f"{name} of epoch {number} is {_short(value)}, expected a number")
        if not is_whole(row["epoch"]) or row["epoch"] != number:
            raise ValueError(f"row {number} of its history has epoch {_short(row['epoch'])}")


def _short(value: Any) -> str:
    return repr(value)[:40]
