"""Where a run was made, as its folder's ``environment.json`` tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thimble.errors import UserError
from thimble.system.json_text import read_object


def read_environment(run: Path) -> dict[str, Any]:
    """The environment that a run was last started in; ``command``, where there is one, is a list of words.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    path = run / "environment.json"
    found = read_object(path)
    command = found.get("command")
    if command is not None and not (isinstance(command, list) and all(isinstance(word, str) for word in command)):
        raise UserError(f"{path} has a command {str(command)[:50]}: expected the list of words that the run wrote")
    return found
