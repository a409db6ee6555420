"""Check a run's folder and write its JSON files; ``training/claim.py`` creates the folder.

    runs/<name>/config.json  data.json  environment.json  metrics.csv  training_logs.md  last.ckpt/  tensorboard/
                model.safetensors

After every epoch the logs are rewritten from the history in the training state. So a run that was interrupted or killed
and then resumed has the same logs as one that was not. docs/run_folder.md describes every file.
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
    """Refuse a folder whose name is not text in this locale, as TensorBoard cannot write there.

    Raises:
        UserError: the name has bytes that cannot be decoded.
    """
    try:
        str(run).encode()
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        raise UserError(f"{run} is not text in {encoding}: choose another name, or a locale that has it") from error


def has_state(run: Path) -> bool:
    """Whether a run has saved its state yet. If not, it resumes from its first step."""
    return (run / STATE_FOLDER / STATE_FILE).is_file()


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as indented JSON, atomically."""
    write_atomically(path, json.dumps(values, indent=2) + "\n")
