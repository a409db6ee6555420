"""Read the ``environment.json`` of a run: the machine, the versions and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thimble.errors import UserError
from thimble.system.json_text import read_object


def read_environment(run: Path) -> dict[str, Any]:
    """Read the environment in which a run last started; ``command``, if present, is a list of words.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = run / "environment.json"
    found = read_object(path)
    command = found.get("command")
    if command is not None and not (isinstance(command, list) and all(isinstance(word, str) for word in command)):
        raise UserError(f"{path} has a command {str(command)[:50]}: expected the list of words that the run wrote")
    return found
