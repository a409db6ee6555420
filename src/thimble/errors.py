"""The three ways in which something ends that was not done; each is told in one line."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's: what was found, what was expected and what to do, in one line. Exit code 2."""


class RunError(Exception):
    """A run that cannot go on, through no mistake of the user's, in one line. Exit code 1."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended a run before its end; its state is saved. Exit code 130."""
