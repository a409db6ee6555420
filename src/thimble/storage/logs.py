"""Write and read a run's logs: metrics.csv for programs, training_logs.md for people."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from thimble.errors import UserError
from thimble.system.files import MEBIBYTE, read_file, write_atomically
from thimble.system.names import shown

Row = dict[str, Any]
"""One epoch of a run: a value or None for each of ``COLUMNS``."""
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
"""The columns of metrics.csv, in order, with the format of each in training_logs.md."""
_MOST_METRICS = 32 * MEBIBYTE
"""The largest metrics.csv that is read. 100,000 epochs, the most that a run can have, take less."""
_LARGEST_METRIC = 1e38
"""Training computes metrics in float32, which holds no more. With this limit, sums and plots stay finite."""


def read_metrics(run: Path) -> list[Row]:
    """Read a run's epochs from its metrics.csv: numbers, and None for an empty cell.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = run / "metrics.csv"
    if not os.path.lexists(path):
        raise UserError(f"{run} holds no metrics.csv: expected the folder of a run that has finished an epoch")
    content = read_file(path, _MOST_METRICS)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        if list(reader.fieldnames or []) != list(COLUMNS):
            raise UserError(f"{path} is not a table of a run's epochs: expected the columns {', '.join(COLUMNS)}")
        rows = [{name: float(value) if value else None for name, value in row.items()} for row in reader]
        for number, row in enumerate(rows, 1):
            for name, value in row.items():
                if not name.startswith("validation") if value is None else not abs(value) < _LARGEST_METRIC:
                    raise ValueError(f"{name} of row {number} is {'empty' if value is None else value}")
            if row["epoch"] != number:
                raise ValueError(f"row {number} has epoch {row['epoch']}")
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {str(error)[:200]}; expected the table that the run wrote") from error
    if not rows:
        raise UserError(f"{path} has no epochs: expected the folder of a run that has finished one")
    return [{**row, "epoch": int(row["epoch"] or 0)} for row in rows]


def write_logs(run: Path, headline: str, history: list[Row], closing: str = "") -> None:
    """Write metrics.csv and training_logs.md from all the epochs so far.

    Args:
        run: the run's folder.
        headline: the most important settings, in one line.
        history: a row for each epoch.
        closing: a last paragraph, with the test result; empty until the run is tested.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(run / "metrics.csv", table.getvalue())

    best = max((row["validation_accuracy"] or 0.0 for row in history), default=0.0)
    lines = [
        f"# Training log of {shown(run.name)}",
        "",
        f"{headline}. Every setting: `config.json`; machine and versions: `environment.json`.",
        "",
        "Training columns are measured on augmented images while the weights change; the training loss is the loss that"
        " the recipe minimises. Validation columns are measured on images held out of training, with the averaged"
        " weights. Losses are cross-entropies with label smoothing. With a teacher, most of the training loss is the"
        " divergence from the teacher's predictions.",
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
        lines += ["", "\\* the best so far. It is only marked: the last averaged weights are tested and saved."]
    if closing:
        lines += ["", closing]
    write_atomically(run / "training_logs.md", "\n".join(lines) + "\n")
