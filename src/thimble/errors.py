"""The three errors that end a command early; the command line shows each in one line."""

from __future__ import annotations


class UserError(Exception):
    """The user made a mistake. The message says what was found, what was expected and what to do. Exit code 2."""


class RunError(Exception):
    """Something failed that is not the user's mistake, such as a full disk. Exit code 1."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM stopped a run early; its state is saved. Exit code 130."""
