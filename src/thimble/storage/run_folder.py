"""A run's folder: how it is found again, and the logs that grow in it. How it begins: ``claim``.

    runs/<name>/config.json  data.json  environment.json  metrics.csv  training_logs.md  last.ckpt/  tensorboard/
                model.safetensors

The logs are written whole after every epoch, from the history that the training state carries: a run that was
interrupted, or died, and was resumed has the logs of one that was not. docs/run_folder.md describes every file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from thimble.errors import UserError
from thimble.system.files import write_atomically

from .state import STATE_FILE, STATE_FOLDER

DATA_FILE = "data.json"


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


def has_state(run: Path) -> bool:
    """Whether a run got as far as its first save. One that did not is resumed from its first step."""
    return (run / STATE_FOLDER / STATE_FILE).is_file()


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON that a person can read and compare, atomically."""
    write_atomically(path, json.dumps(values, indent=2) + "\n")
