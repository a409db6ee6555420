"""A run's folder: how it is found again, and the logs that grow in it. How it begins: ``claim``.

    runs/<name>/config.json  environment.json  metrics.csv  training_logs.md  last.ckpt/  tensorboard/
                model.safetensors

The logs are written whole after every epoch, from the history that the training state carries: a run that was
interrupted, or died, and was resumed has the logs of one that was not. docs/run_folder.md describes every file.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .checkpoint import STATE_FILE, STATE_FOLDER, WEIGHTS_FILE
from .config import AugmentConfig, RunError, TrainConfig, UserError
from .data import has_cifar10
from .progress import Row
from .system.files import MEBIBYTE, read_file, write_atomically
from .system.json_text import read_object
from .system.names import shown

COLUMNS = {
    "epoch": "{:d}",
    "train_loss": "{:.4f}",
    "train_accuracy": "{:.2%}",
    "validation_loss": "{:.4f}",
    "validation_accuracy": "{:.2%}",
    "learning_rate": "{:.5f}",
    "seconds": "{:.1f}",
    "images_per_second": "{:.0f}",
}
"""The columns of metrics.csv, in order, with the format that a person reads them in."""

_event_files = itertools.count()
_MOST_METRICS = 32 * MEBIBYTE
"""Of metrics.csv: 100,000 epochs, the most that there can be, have less."""
_LARGEST_METRIC = 1e38
"""As float32, which training computes them in, can hold. Sums and plots of them stay finite."""


# What may differ between a run and its resumption: none of it changes the result, but for the rounding of another
# device or of compiled arithmetic. (The place of teacher or bank may: that it is the same file, its checksum says.)
RESUMABLE = frozenset(
    {"data_dir", "device", "compile", "workers", "runs", "name", "overwrite", "fallback", "teacher", "bank"}
)


_LATER = {"bank"}
"""Settings that the first runs did not know yet. What they lack is off."""


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as JSON can hold it: folders as strings, tuples as lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """The inverse of ``to_dict``.

    Raises:
        UserError: a field is missing, unknown, of another type or out of its range.
    """
    augment = values.get("augment")
    if not isinstance(augment, dict):
        raise UserError("not the configuration of a Thimble run: it lacks augment, or has it as no object")
    # A default must not stand in for what the run was made with.
    for settings, found in ((TrainConfig, values), (AugmentConfig, augment)):
        names = {each.name for each in dataclasses.fields(settings)}
        for what, difference in (("lacks", names - found.keys() - _LATER), ("has an unknown", found.keys() - names)):
            if difference:
                listed = ", ".join(sorted(difference))[:200]
                raise UserError(f"not the configuration of a Thimble run: it {what} {listed}")
    return TrainConfig(**{**values, "augment": AugmentConfig(**augment)})


def check_place(run: Path) -> None:
    """Refuse a folder whose name is no text: TensorBoard, whose curves go into it, takes none of other bytes.

    Raises:
        UserError: it has bytes that are no text in this locale.
    """
    try:
        str(run).encode()
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        raise UserError(f"{run} is no text in {encoding}: expected another name, or a locale that has it") from error


def read_config(run: Path) -> TrainConfig:
    """The configuration that a run began with.

    Raises:
        UserError: there is no such run, or its configuration is damaged.
    """
    path = run / "config.json"
    if not os.path.lexists(path):
        raise UserError(f"{run} holds no config.json: expected the folder of a run, such as runs/NAME")
    try:
        return from_dict(read_object(path))
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def check_data_dir(run: Path, config: TrainConfig) -> None:
    """Refuse to download into a folder that only the run's settings name: they may be somebody else's.

    Raises:
        UserError: a resumed run's data are not where they were, and no other place is named.
    """
    folder = config.data_dir
    if config.data != "cifar10" or folder is None or has_cifar10(folder):
        return
    if folder == read_config(run).data_dir:
        raise UserError(
            f"{folder}, where {run} has its data from, holds no CIFAR-10 any more: put it back, or name another folder"
            " with --data-dir"
        )


def read_metrics(run: Path) -> list[Row]:
    """The epochs of a run, as ``write_logs`` wrote them to metrics.csv: numbers, and None where a cell is empty.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    path = run / "metrics.csv"
    if not os.path.lexists(path):
        raise UserError(f"{run} holds no metrics.csv: expected the folder of a run that has finished an epoch")
    content = read_file(path, _MOST_METRICS)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        if list(reader.fieldnames or []) != list(COLUMNS):
            raise UserError(f"{path} is no table of a run's epochs: expected the columns {', '.join(COLUMNS)}")
        rows = [{name: float(value) if value else None for name, value in row.items()} for row in reader]
        for number, row in enumerate(rows, 1):
            for name, value in row.items():
                if not name.startswith("validation") if value is None else not abs(value) < _LARGEST_METRIC:
                    raise ValueError(f"{name} of row {number} is {'empty' if value is None else value}")
            if row["epoch"] != number:
                raise ValueError(f"row {number} is of epoch {row['epoch']}")
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {str(error)[:200]}; expected the table that the run wrote") from error
    if not rows:
        raise UserError(f"{path} has no epochs: expected the folder of a run that has finished one")
    return [{**row, "epoch": int(row["epoch"] or 0)} for row in rows]


def check_resumable(run: Path, config: TrainConfig) -> None:
    """Refuse to resume a run that is finished, or under settings that would change its result.

    Raises:
        UserError: naming the setting, what the run began with and what was asked.
    """
    began, asked = to_dict(read_config(run)), to_dict(config)
    for name in sorted(set(began) - RESUMABLE):
        if began[name] != asked[name]:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{run} began with {flag} {began[name]}, not {asked[name]}: a run keeps its recipe")
    if (run / WEIGHTS_FILE).is_file():
        raise UserError(f"{run} is finished: its model is {run / WEIGHTS_FILE}; start a new run to train on")
    if not has_state(run) and (run / "metrics.csv").is_file():
        raise UserError(
            f"{run} has lost its {STATE_FOLDER}/{STATE_FILE}, from which it would go on: expected it beside its"
            " metrics.csv; begin another run"
        )


def has_state(run: Path) -> bool:
    """Whether a run got as far as its first save. One that did not is resumed from its first step."""
    return (run / STATE_FOLDER / STATE_FILE).is_file()


class Curves:
    """The same figures for TensorBoard: ``tensorboard --logdir runs`` draws the runs over one another.

    Written here and now, not by a thread of its own as ``torch.utils.tensorboard`` does it, whose failure nobody would
    catch.

    Args:
        run: the run's folder; the event files go into ``tensorboard/`` in it.
        first_epoch: rows from this epoch on are about to be added; what a died run wrote of them is void.

    Raises:
        RunError: the file cannot be written.
    """

    def __init__(self, run: Path, first_epoch: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}.{next(_event_files)}"
        self.path = run / "tensorboard" / name
        with self._telling():
            self.path.parent.mkdir(exist_ok=True)
            self._file = self.path.open("ab")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        self._write(step=first_epoch, session_log=SessionLog(status=SessionLog.START))

    def add(self, row: Row) -> None:
        """Add an epoch's row, and let it be seen at once."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for name, value in row.items():
            if name != "epoch" and value is not None:
                tag = name.replace("_", "/", 1)
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                self._write(step=row["epoch"], summary=summary)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        with self._telling():
            self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
            self._file.flush()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}; free some space and try again") from error


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON that a person can read and compare, atomically."""
    write_atomically(path, json.dumps(values, indent=2) + "\n")


def write_logs(run: Path, config: TrainConfig, history: list[Row], closing: str = "") -> None:
    """Write metrics.csv and training_logs.md from all the epochs so far, and a closing paragraph."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(run / "metrics.csv", table.getvalue())

    best = max((row["validation_accuracy"] or 0.0 for row in history), default=0.0)
    lines = [
        f"# Training log of {shown(run.name)}",
        "",
        f"{config.model} on {config.data}, {config.epochs} epochs at batch size {config.batch_size}, peak learning rate"
        f" {config.learning_rate}, seed {config.seed}, {config.precision}. Every setting: `config.json`; machine and"
        " versions: `environment.json`.",
        "",
        "Training is measured on the augmented images while the weights move, and its loss is what the recipe"
        " minimises; validation on images held out of training, with the averaged weights and the labels alone. Losses"
        " are cross-entropies with label smoothing; with a teacher, in training, mostly divergences from its answers.",
        "",
        "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "|" + "---:|" * len(COLUMNS),
    ]
    for row in history:
        cells = ["" if row[name] is None else layout.format(row[name]) for name, layout in COLUMNS.items()]
        if row["validation_accuracy"] == best and best > 0:
            cells[list(COLUMNS).index("validation_accuracy")] += " *"
        lines.append("| " + " | ".join(cells) + " |")
    if best > 0:
        lines += ["", "\\* the best so far. It is only shown: the last averaged weights are tested and saved."]
    if closing:
        lines += ["", closing]
    write_atomically(run / "training_logs.md", "\n".join(lines) + "\n")
